#include "kernels/clamp.h"

#include "kernels/cpu/pieces.h"

namespace stipple::cpu {

void clamp(Tensor& y, const Tensor& x, double low, double high) {
  for_real("clamp", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T *from = x.data<T>(), lowest = static_cast<T>(low), highest = static_cast<T>(high);
    parallel_for_ranges(x.numel(), kPiece, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = from[i] < lowest ? lowest : from[i] > highest ? highest : from[i];
    });
  });
}

void clamp_backward(Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high) {
  for_real("clamp", x.dtype(), [&]<typename T>(T) {
    T* to = dx.mutable_data<T>();
    const T *upstream = dy.data<T>(), *from = x.data<T>(), lowest = static_cast<T>(low), highest = static_cast<T>(high);
    parallel_for_ranges(x.numel(), kPiece, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = from[i] >= lowest && from[i] <= highest ? upstream[i] : T{0};
    });
  });
}

}  // namespace stipple::cpu
