#include "diffusion/schedulers/euler_ancestral.h"

#include <cmath>

#include "diffusion/schedulers/prediction.h"

namespace stipple {

EulerAncestralDiscreteScheduler::EulerAncestralDiscreteScheduler(const SchedulerConfig& config, int64_t steps,
                                                                 const StepOptions&)
    : VarianceExplodingSampler(config, steps) {}

StepResult EulerAncestralDiscreteScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                                                 const NoiseSource& noise) {
  const double sigma = sigmas_.at(index), next = sigmas_.at(index + 1), down = next * next / sigma;
  const Tensor clean = predicted_clean(sample, model_output, index).value();
  const Tensor x = euler_step(sample, clean, sigma, down);
  if (next == 0) return {x, clean};
  return {weighted_sum(1, x, std::sqrt(next * next - down * down), noise(sample.shape())), clean};
}

}  // namespace stipple
