#include "kernels/fir_resample.h"

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

// The pixels of one line of x, numbers `first`, first + 1, ..., that a pixel of y is made of, and their weights.
struct Taps {
  int64_t first;
  std::span<const double> weights;
};

constexpr double kDown[] = {0.125, 0.375, 0.375, 0.125}, kEven[] = {0.25, 0.75}, kOdd[] = {0.75, 0.25};

Taps downsampling(int64_t i) { return {2 * i - 1, kDown}; }
Taps upsampling(int64_t j) { return j % 2 == 0 ? Taps{j / 2 - 1, kEven} : Taps{j / 2, kOdd}; }

// f(pixel of x, weight) for the taps that lie within.
template <typename F>
void for_taps(const Taps& taps, int64_t extent, F&& f) {
  for (size_t a = 0; a < taps.weights.size(); ++a) {
    const int64_t at = taps.first + static_cast<int64_t>(a);
    if (at >= 0 && at < extent) f(at, taps.weights[a]);
  }
}

// A row of y is a task; the sums of a pixel's channels are in double.
template <typename T>
void filter(Tensor& y, const Tensor& x, double gain, Taps (*taps_of)(int64_t)) {
  const int64_t height = x.dim(1), width = x.dim(2), channels = x.dim(3), rows = y.dim(1), columns = y.dim(2);
  T* to = y.mutable_data<T>();
  const T* from = x.data<T>();
  parallel_for(y.dim(0) * rows, [&](int64_t row) {
    const T* image = from + row / rows * height * width * channels;
    const Taps vertical = taps_of(row % rows);
    std::vector<double> sums(channels);
    for (int64_t j = 0; j < columns; ++j) {
      std::fill(sums.begin(), sums.end(), 0.0);
      const Taps horizontal = taps_of(j);
      for_taps(vertical, height, [&](int64_t h, double down) {
        for_taps(horizontal, width, [&](int64_t w, double across) {
          const T* pixel = image + (h * width + w) * channels;
          const double weight = gain * down * across;
          for (int64_t c = 0; c < channels; ++c) sums[c] += weight * pixel[c];
        });
      });
      std::copy(sums.begin(), sums.end(), to + (row * columns + j) * channels);
    }
  });
}

}  // namespace

void fir_downsample(Tensor& y, const Tensor& x, double gain) {
  for_real("fir_downsample", x.dtype(), [&]<typename T>(T) { filter<T>(y, x, gain, downsampling); });
}

void fir_upsample(Tensor& y, const Tensor& x, double gain) {
  for_real("fir_upsample", x.dtype(), [&]<typename T>(T) { filter<T>(y, x, gain, upsampling); });
}

}  // namespace stipple::cpu
