#pragma once
#include "diffusion/scheduler.h"

// Denoising diffusion implicit models. Song et al. 2020, arXiv:2010.02502, eq. 12 and 16.
//
// From t to s = t - T / steps rounded down, whatever the spacing of the timesteps; where s < 0, abar_s is 1, or abar_0
// without set_alpha_to_one:
//   x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) epsilon + sigma z
//   sigma^2 = eta^2 (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s);   eta = 0 is deterministic, eta = 1 is DDPM
// epsilon is the network's. use_clipped_model_output takes the one that belongs to the clipped x_0 instead.

namespace stipple {

class DDIMScheduler final : public Sampler {
 public:
  DDIMScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  Var clip(const Var& clean) const override;
  float variance(size_t index) const;  // sigma^2 of that step at eta = 1

 private:
  float next_alpha_cumprod(size_t index) const;

  float eta_;
  bool use_clipped_model_output_;
};

}  // namespace stipple
