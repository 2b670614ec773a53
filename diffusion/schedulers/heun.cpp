#include "diffusion/schedulers/heun.h"

#include "diffusion/schedulers/prediction.h"

namespace stipple {
namespace {

template <typename T>
std::vector<T> all_but_first_twice(const std::vector<T>& once) {
  std::vector<T> twice{once.front()};
  for (size_t i = 1; i < once.size(); ++i) twice.insert(twice.end(), 2, once[i]);
  return twice;
}

}  // namespace

HeunDiscreteScheduler::HeunDiscreteScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions&)
    : VarianceExplodingSampler(config, steps) {
  timesteps_ = all_but_first_twice(timesteps_);
  sigmas_ = all_but_first_twice(sigmas_);
  sigmas_.pop_back();
}

Var HeunDiscreteScheduler::clip(const Var& clean) const { return clip_clean(clean, config_); }

StepResult HeunDiscreteScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                                       const NoiseSource&) {
  const float sigma = sigmas_.at(index);
  const Tensor clean = predicted_clean(sample, model_output, index).value();
  const Tensor slope = weighted_sum(1.0 / sigma, sample, -1.0 / sigma, clean);
  if (index % 2 == 1) {
    const Tensor mean = weighted_sum(0.5, slope_, 0.5, slope);
    return {weighted_sum(1, from_, sigma - sigmas_.at(index - 1), mean), clean};
  }
  from_ = sample;
  slope_ = slope;
  return {euler_step(sample, clean, sigma, sigmas_.at(index + 1)), clean};
}

}  // namespace stipple
