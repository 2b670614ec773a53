#include "kernels/absolute.h"

#include "kernels/cpu/pieces.h"

namespace stipple::cpu {

void absolute(Tensor& y, const Tensor& x) {
  for_real("absolute", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    parallel_for_ranges(x.numel(), kPiece, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = from[i] < 0 ? -from[i] : from[i];
    });
  });
}

void absolute_backward(Tensor& dx, const Tensor& dy, const Tensor& x) {
  for_real("absolute", x.dtype(), [&]<typename T>(T) {
    T* to = dx.mutable_data<T>();
    const T *upstream = dy.data<T>(), *from = x.data<T>();
    parallel_for_ranges(x.numel(), kPiece, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = upstream[i] * static_cast<T>((from[i] > 0) - (from[i] < 0));
    });
  });
}

}  // namespace stipple::cpu
