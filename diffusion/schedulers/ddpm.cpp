#include "diffusion/schedulers/ddpm.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"

namespace stipple {

DDPMScheduler::DDPMScheduler(const SchedulerConfig& config, int64_t steps)
    : Sampler(config, spaced_timesteps(config, steps)) {
  const std::string& type = config.variance_type;
  check(type == "fixed_small" || type == "fixed_small_log" || type == "fixed_large",
        "DDPMScheduler: variance_type '{}' is not supported; there are fixed_small, fixed_small_log, fixed_large",
        type);
}

int64_t DDPMScheduler::next_timestep(size_t index) const {
  return index + 1 < timesteps_.size() ? timestep(index + 1) : -1;
}

float DDPMScheduler::variance(size_t index) const {
  const float abar = schedule_.alpha_cumprod(timestep(index)), next = schedule_.alpha_cumprod(next_timestep(index));
  const float beta = 1 - abar / next;
  if (config_.variance_type == "fixed_large") return beta;
  return std::max((1 - next) / (1 - abar) * beta, 1e-20f);
}

StepResult DDPMScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                               const NoiseSource& noise) {
  const int64_t t = timestep(index);
  const float abar = schedule_.alpha_cumprod(t), next = schedule_.alpha_cumprod(next_timestep(index));
  const float alpha = abar / next, beta = 1 - alpha;
  const Tensor clean = clip_clean(predict_clean(schedule_.clean_from(t), sample, model_output), config_);

  const float of_clean = std::sqrt(next) * beta / (1 - abar);
  const float of_sample = std::sqrt(alpha) * (1 - next) / (1 - abar);
  const Tensor mean = weighted_sum(of_clean, clean, of_sample, sample);
  if (t == 0) return {mean, clean};
  return {weighted_sum(1, mean, std::sqrt(variance(index)), noise(sample.shape())), clean};
}

}  // namespace stipple
