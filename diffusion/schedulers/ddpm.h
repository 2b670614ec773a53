#pragma once
#include "diffusion/scheduler.h"

// Ancestral sampling. Ho et al. 2020, arXiv:2006.11239, algorithm 2 by way of eq. 6 and 7.
//
// From t to s, the next timestep (-1 after the last: abar_s = 1), with a_t = abar_t / abar_s, b_t = 1 - a_t:
//   x_s = sqrt(abar_s) b_t / (1 - abar_t) x_0 + sqrt(a_t) (1 - abar_s) / (1 - abar_t) x_t + sigma z,   no z at t = 0
//   sigma^2   fixed_small, fixed_small_log   v = b_t (1 - abar_s) / (1 - abar_t), at least 1e-20
//             fixed_large                    b_t
//             learned                        the second half of the network's channels
//             learned_range                  v and b_t, mixed in the logarithm by that half, which goes from -1 to 1
//                                            Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15

namespace stipple {

class DDPMScheduler final : public Sampler {
 public:
  DDPMScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  Var clip(const Var& clean) const override;
  float variance(size_t index) const;  // sigma^2 of that step where it is not learned

 private:
  int64_t next_timestep(size_t index) const;
  float beta(size_t index) const;
  Tensor learned_noise(size_t index, const Tensor& predicted_variance, const Tensor& noise) const;

  bool learned_;
};

}  // namespace stipple
