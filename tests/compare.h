#pragma once
#include <cmath>
#include <cstring>

#include "tensor/tensor.h"

namespace stipple {

// |a - b| / |b| in L2, computed in double; b may not be zero everywhere unless a is. NaN where either has one.
inline double relative_error(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "relative_error: {} against {}", describe(a), describe(b));
  const Tensor x = a.to(Dtype::f64), y = b.to(Dtype::f64);
  const double *px = x.data<double>(), *py = y.data<double>();
  double difference = 0, size = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    difference += (px[i] - py[i]) * (px[i] - py[i]);
    size += py[i] * py[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / size);
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.bytes(), b.bytes(), a.nbytes()) == 0;
}

}  // namespace stipple
