#pragma once
#include "kernels/cuda/ptx.h"

// The formulas of group_norm.h for one element.

namespace stipple::cuda {

__device__ inline float sigmoid(float z) { return 1 / (1 + ptx::exp2_approximate(-1.44269504f * z)); }
__device__ inline float silu_slope(float z) { return sigmoid(z) * (1 + z * (1 - sigmoid(z))); }

// Of one channel in one image.
struct Normal {
  float mean, rstd, gamma, beta;

  __device__ float normalised(float x) const { return (x - mean) * rstd; }
  __device__ float output(float x, bool silu) const {
    const float z = gamma * normalised(x) + beta;
    return silu ? z * sigmoid(z) : z;
  }
  // dz = dy, times silu'(z) where y is silu(z).
  __device__ float through_silu(float dy, float xn, bool silu) const {
    return silu ? dy * silu_slope(gamma * xn + beta) : dy;
  }
};

}  // namespace stipple::cuda
