#pragma once
#include "diffusion/scheduler.h"

// Ancestral sampling. Ho et al. 2020, arXiv:2006.11239, algorithm 2 by way of eq. 6 and 7.
//
// From t to s, the next timestep (-1 after the last: abar_s = 1), with a_t = abar_t / abar_s, b_t = 1 - a_t:
//   x_s = sqrt(abar_s) b_t / (1 - abar_t) x_0 + sqrt(a_t) (1 - abar_s) / (1 - abar_t) x_t + sigma z,   no z at t = 0
//   sigma^2   fixed_small, fixed_small_log   b_t (1 - abar_s) / (1 - abar_t), at least 1e-20
//             fixed_large                    b_t

namespace stipple {

class DDPMScheduler final : public Sampler {
 public:
  DDPMScheduler(const SchedulerConfig&, int64_t steps);

  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  float variance(size_t index) const;  // sigma^2 of that step

 private:
  int64_t next_timestep(size_t index) const;
};

}  // namespace stipple
