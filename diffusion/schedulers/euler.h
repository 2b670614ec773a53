#pragma once
#include "diffusion/schedulers/variance_exploding.h"

// Euler's method for the probability-flow equation, with or without churn. Karras et al. 2022, arXiv:2206.00364,
// algorithm 2 without its correction.
//
//   g = min(s_churn / steps, sqrt(2) - 1) where s_tmin <= sigma <= s_tmax, else 0;   h = sigma (1 + g)
//   x += s_noise sqrt(h^2 - sigma^2) z,   only with churn
//   x' = x + (x - x_0) / h (sigma' - h)

namespace stipple {

class EulerDiscreteScheduler final : public VarianceExplodingSampler {
 public:
  EulerDiscreteScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;

 private:
  double churned(double sigma) const;

  StepOptions options_;
};

}  // namespace stipple
