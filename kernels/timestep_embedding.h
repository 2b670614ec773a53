#pragma once
#include "tensor/tensor.h"

// Sinusoidal embedding of timesteps. Ho et al. 2020, arXiv:2006.11239, after Vaswani et al. 2017,
// arXiv:1706.03762, 3.5.
//
// With half = dim / 2 and frequencies f_i = max_period^(-i / (half - freq_shift)), i = 0 ... half-1:
//   y[n] = [sin(t f), cos(t f)], or [cos, sin] where flip_sin_to_cos; an odd dim ends in one zero.
// Always in f32, rounded where PyTorch rounds. Not differentiable.

namespace stipple {

struct TimestepEmbeddingOptions {
  int64_t dim;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  double max_period = 10000;
};

namespace kernels {
Tensor timestep_embedding(const Tensor& t,                   // [N], any dtype
                          const TimestepEmbeddingOptions&);  // f32 [N, dim]
}

namespace cpu {
void timestep_embedding(Tensor& y, const Tensor& t, const TimestepEmbeddingOptions&);  // t f32
}

namespace cuda {
void timestep_embedding(Tensor& y, const Tensor& t, const TimestepEmbeddingOptions&);  // t f32
}

}  // namespace stipple
