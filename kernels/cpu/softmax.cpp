#include "kernels/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements a piece

// Calls f(offset of a row) for every row of the last dimension.
template <typename F>
void for_rows(const Tensor& x, F&& f) {
  const int64_t width = x.dim(-1), rows = std::max<int64_t>(1, kGrain / width);
  parallel_for_ranges(x.numel() / width, rows, [&](int64_t a, int64_t b) {
    for (int64_t row = a; row < b; ++row) f(row * width);
  });
}

}  // namespace

void softmax(Tensor& y, const Tensor& x) {
  for_real("softmax", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    const int64_t width = x.dim(-1);
    for_rows(x, [&](int64_t row) {
      const T largest = *std::max_element(from + row, from + row + width);
      double sum = 0;
      for (int64_t i = row; i < row + width; ++i) sum += to[i] = std::exp(from[i] - largest);
      const T scale = static_cast<T>(1 / sum);
      for (int64_t i = row; i < row + width; ++i) to[i] *= scale;
    });
  });
}

void softmax_backward(Tensor& dx, const Tensor& dy, const Tensor& y) {
  for_real("softmax", y.dtype(), [&]<typename T>(T) {
    T* to = dx.mutable_data<T>();
    const T *upstream = dy.data<T>(), *p = y.data<T>();
    const int64_t width = y.dim(-1);
    for_rows(y, [&](int64_t row) {
      double sum = 0;
      for (int64_t i = row; i < row + width; ++i) sum += static_cast<double>(upstream[i]) * p[i];
      for (int64_t i = row; i < row + width; ++i) to[i] = static_cast<T>(p[i] * (upstream[i] - sum));
    });
  });
}

}  // namespace stipple::cpu
