#include "kernels/cuda/launch.h"
#include "kernels/fir_resample.h"

// fir_resample: one element of the result a thread, channels innermost.
//
// Idea    the 4 x 4 (down) or 2 x 2 (up) taps of an element, read straight from memory: neighbours share them in L1.
// Costs   down: x read four times, of which L1 serves three; up: every element of x is read 16 times, mostly from L1.
// Tried   two passes, one a dimension: fewer multiplications, but a picture more to write and read.

namespace stipple::cuda {
namespace {

struct Sizes {
  int64_t height, width, channels, rows, columns, elements;  // of x; of y

  Sizes(const Tensor& y, const Tensor& x)
      : height(x.dim(1)), width(x.dim(2)), channels(x.dim(3)), rows(y.dim(1)), columns(y.dim(2)), elements(y.numel()) {}
};

// The pixels of one line of x, numbers `first`, first + 1, ..., that pixel i of y is made of, and their weights.
struct Down {
  static constexpr int kTaps = 4;
  __device__ static int64_t first(int64_t i) { return 2 * i - 1; }
  __device__ static float weight(int64_t, int tap) { return tap == 0 || tap == 3 ? 0.125f : 0.375f; }
};
struct Up {
  static constexpr int kTaps = 2;
  __device__ static int64_t first(int64_t i) { return i / 2 - (i % 2 == 0); }
  __device__ static float weight(int64_t i, int tap) { return i % 2 == tap ? 0.25f : 0.75f; }
};

template <typename Taps, typename T>
__global__ void fir_kernel(T* __restrict__ y, const T* __restrict__ x, Sizes s, float gain) {
  const int64_t at = global_thread();
  if (at >= s.elements) return;
  const int64_t c = at % s.channels, j = at / s.channels % s.columns, row = at / s.channels / s.columns;
  const int64_t i = row % s.rows, n = row / s.rows;
  float sum = 0;
  for (int a = 0; a < Taps::kTaps; ++a)
    for (int b = 0; b < Taps::kTaps; ++b) {
      const int64_t h = Taps::first(i) + a, w = Taps::first(j) + b;
      if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
      const float weight = Taps::weight(i, a) * Taps::weight(j, b);
      sum += weight * static_cast<float>(x[((n * s.height + h) * s.width + w) * s.channels + c]);
    }
  y[at] = gain * sum;
}

template <typename Taps>
void filter(const char* operation, Tensor& y, const Tensor& x, double gain) {
  if (y.numel() == 0) return;
  for_floating(operation, x.dtype(), [&]<typename T>(T) {
    launch(fir_kernel<Taps, T>, blocks_for(y.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x), Sizes(y, x),
           static_cast<float>(gain));
  });
}

}  // namespace

void fir_downsample(Tensor& y, const Tensor& x, double gain) { filter<Down>("fir_downsample", y, x, gain); }
void fir_upsample(Tensor& y, const Tensor& x, double gain) { filter<Up>("fir_upsample", y, x, gain); }

}  // namespace stipple::cuda
