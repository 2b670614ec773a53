#pragma once
#include "diffusion/scheduler.h"

// DDIM walked backwards: from an image to the noise that DDIM would make it from. Song et al. 2020, arXiv:2010.02502,
// section 4.3; Mokady et al. 2022, arXiv:2211.09794, eq. 3.
//
// The timesteps ascend. At timestep t the image is still at r = t - T / steps (rounded down; abar_r is 1 for r < 0, or
// abar_0 without set_alpha_to_one), and the network is asked as if it were at t already:
//   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) epsilon

namespace stipple {

class DDIMInverseScheduler final : public Sampler {
 public:
  DDIMInverseScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  NoiseLevel level(size_t index) const override;
  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  Var clip(const Var& clean) const override;
};

}  // namespace stipple
