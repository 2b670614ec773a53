#include "diffusion/schedulers/ddim.h"

#include <cmath>

#include "diffusion/schedulers/prediction.h"

namespace stipple {

DDIMScheduler::DDIMScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions& options)
    : Sampler(config, spaced_timesteps(config, steps)), options_(options) {
  check(options.eta >= 0, "DDIMScheduler: eta is {}, it cannot be negative", options.eta);
}

float DDIMScheduler::next_alpha_cumprod(size_t index) const {
  const int64_t stride = config_.num_train_timesteps / static_cast<int64_t>(timesteps_.size());
  const int64_t next = timestep(index) - stride;
  if (next >= 0) return schedule_.alpha_cumprod(next);
  return config_.set_alpha_to_one ? 1 : schedule_.alpha_cumprod(0);
}

float DDIMScheduler::variance(size_t index) const {
  const float abar = schedule_.alpha_cumprod(timestep(index)), next = next_alpha_cumprod(index);
  return (1 - next) / (1 - abar) * (1 - abar / next);
}

StepResult DDIMScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                               const NoiseSource& noise) {
  const int64_t t = timestep(index);
  const float abar = schedule_.alpha_cumprod(t), next = next_alpha_cumprod(index);
  const Tensor predicted = predict_clean(schedule_.clean_from(t), sample, model_output);
  const Tensor clean = clip_clean(predicted, config_);
  const Tensor epsilon = epsilon_from(sample, options_.use_clipped_model_output ? clean : predicted, abar);

  const float sigma = static_cast<float>(options_.eta) * std::sqrt(variance(index));
  const Tensor mean = weighted_sum(std::sqrt(next), clean, std::sqrt(1 - next - sigma * sigma), epsilon);
  if (options_.eta == 0) return {mean, clean};
  return {weighted_sum(1, mean, sigma, noise(sample.shape())), clean};
}

}  // namespace stipple
