#pragma once
#include "diffusion/schedulers/variance_exploding.h"

// Heun's method: every step but the last is Euler's, then done again with the mean of the slopes at its two ends.
// Karras et al. 2022, arXiv:2206.00364, algorithm 1.
//
// timesteps() has 2 steps - 1 entries, the first once, the others twice: at an even index the step from the
// timestep, at an odd one the correction that ends at it.
//   even   d = (x - x_0) / sigma;                           x' = x + (sigma' - sigma) d
//   odd    x' = x + (sigma' - sigma) (d + (x' - x_0) / sigma') / 2, with x, d and sigma of the step before

namespace stipple {

class HeunDiscreteScheduler final : public VarianceExplodingSampler {
 public:
  HeunDiscreteScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  int64_t order() const override { return 2; }
  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  Var clip(const Var& clean) const override;

 private:
  Tensor from_, slope_;  // x and d of the last even index
};

}  // namespace stipple
