#pragma once
#include "tensor/random.h"

namespace stipple {

// f32, normal: mean `shift`, standard deviation `scale`.
inline Tensor random_tensor(const Shape& shape, uint64_t seed, float scale = 1, float shift = 0) {
  PhiloxGenerator generator(seed);
  Tensor x = normal(generator, shape);
  float* values = x.mutable_data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = values[i] * scale + shift;
  return x;
}

}  // namespace stipple
