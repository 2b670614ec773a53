#pragma once
#include "diffusion/schedulers/variance_exploding.h"

// Euler's method with fresh noise at every step: down to less noise than the next sigma has, and up to it again.
//
//   up^2 = sigma'^2 (sigma^2 - sigma'^2) / sigma^2      down^2 = sigma'^2 - up^2, so down = sigma'^2 / sigma
//   x' = x + (x - x_0) / sigma (down - sigma) + up z
// The variances are those of DDPM's step, in sigmas: Song et al. 2020, arXiv:2010.02502, eq. 16 at eta = 1.

namespace stipple {

class EulerAncestralDiscreteScheduler final : public VarianceExplodingSampler {
 public:
  EulerAncestralDiscreteScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
};

}  // namespace stipple
