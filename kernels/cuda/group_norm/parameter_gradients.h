#pragma once
#include "kernels/cuda/partial_sums.h"
#include "kernels/group_norm.h"

// Gradients of weight and bias: images leave sum dz and sum dz xn of each channel, which add up in order.

namespace stipple::cuda {

// Where a channel's sums go: number i of [2, channels], dbeta's before dgamma's.
struct ParameterGradients {
  GradientElement dbeta, dgamma;
  int64_t channels;

  __device__ void operator()(int64_t i, float sum) const {
    const bool first = i < channels;  // values, not a reference to one of two: that would put both on the stack
    const GradientElement to{first ? dbeta.to : dgamma.to, first ? dbeta.add : dgamma.add};
    if (to.to) to(i % channels, sum);
  }
};

// f32 [images, 2, channels]; undefined where nobody wants them.
inline Tensor sums_of_images(const GroupNormGrads& to, const Concat<Tensor>& x) {
  if (!to.dgamma.wanted() && !to.dbeta.wanted()) return {};
  return Tensor({x.a.dim(0), 2, x.channels()}, Dtype::f32, x.a.device());
}

inline void add_images(const GroupNormGrads& to, const Tensor& image_sums) {
  const int64_t channels = image_sums.dim(-1);
  add_partials(ParameterGradients{{mutable_data<float>(to.dbeta.to), to.dbeta.add},
                                  {mutable_data<float>(to.dgamma.to), to.dgamma.add},
                                  channels},
               data<float>(image_sums), static_cast<int>(image_sums.dim(0)), 2 * channels);
}

}  // namespace stipple::cuda
