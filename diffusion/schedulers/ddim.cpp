#include "diffusion/schedulers/ddim.h"

#include <cmath>

#include "diffusion/schedulers/prediction.h"
#include "diffusion/schedulers/timesteps.h"

namespace stipple {

DDIMScheduler::DDIMScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions& options)
    : Sampler(config, spaced_timesteps(config, steps)),
      eta_(static_cast<float>(options.eta.value_or(0))),
      use_clipped_model_output_(options.use_clipped_model_output.value_or(false)) {
  check(eta_ >= 0, "DDIMScheduler: eta is {}, it cannot be negative", eta_);
  check(!use_clipped_model_output_ || config.clip_sample || config.thresholding,
        "DDIMScheduler: use_clipped_model_output changes nothing without clip_sample or thresholding");
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

Var DDIMScheduler::clip(const Var& clean) const {
  return config_.thresholding ? threshold_clean(clean, config_) : clip_clean(clean, config_);
}

StepResult DDIMScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                               const NoiseSource& noise) {
  const Tensor clean = predicted_clean(sample, model_output, index).value();
  const Tensor epsilon =
      use_clipped_model_output_
          ? noise_from(sample, clean, level(index))
          : apply(noise_coefficients(schedule_.prediction(), level(index)), sample, model_output).value();

  const float next = next_alpha_cumprod(index), sigma = eta_ * std::sqrt(variance(index));
  const Tensor mean = weighted_sum(std::sqrt(next), clean, std::sqrt(1 - next - sigma * sigma), epsilon);
  if (eta_ == 0) return {mean, clean};
  return {weighted_sum(1, mean, sigma, noise(sample.shape())), clean};
}

}  // namespace stipple
