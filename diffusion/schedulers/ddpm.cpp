#include "diffusion/schedulers/ddpm.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"
#include "diffusion/schedulers/timesteps.h"
#include "kernels/arithmetic.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

// f of every element, on the host.
template <typename F>
Tensor map(const Tensor& x, F f) {
  const Tensor y = x.to(Device::cpu).clone();
  for_real("DDPMScheduler", y.dtype(), [&]<typename T>(T) {
    T* values = y.mutable_data<T>();
    std::transform(values, values + y.numel(), values, f);
  });
  return y.to(x.device());
}

}  // namespace

DDPMScheduler::DDPMScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions&)
    : Sampler(config, spaced_timesteps(config, steps)), learned_(config.variance_type.starts_with("learned")) {
  const std::string& type = config.variance_type;
  check(learned_ || type == "fixed_small" || type == "fixed_small_log" || type == "fixed_large",
        "DDPMScheduler: variance_type {} is not supported; there are fixed_small, fixed_small_log, fixed_large, "
        "learned, learned_range",
        in_quotes(type));
}

int64_t DDPMScheduler::next_timestep(size_t index) const {
  return index + 1 < timesteps_.size() ? timestep(index + 1) : -1;
}

float DDPMScheduler::beta(size_t index) const {
  return 1 - schedule_.alpha_cumprod(timestep(index)) / schedule_.alpha_cumprod(next_timestep(index));
}

float DDPMScheduler::variance(size_t index) const {
  if (config_.variance_type == "fixed_large") return beta(index);
  const float abar = schedule_.alpha_cumprod(timestep(index)), next = schedule_.alpha_cumprod(next_timestep(index));
  return std::max((1 - next) / (1 - abar) * beta(index), 1e-20f);
}

Tensor DDPMScheduler::learned_noise(size_t index, const Tensor& predicted_variance, const Tensor& noise) const {
  const double least = std::log(variance(index)), most = std::log(beta(index));
  const bool range = config_.variance_type == "learned_range";
  const Tensor sigma = map(predicted_variance, [=](double v) {
    return range ? std::exp((least + (v + 1) / 2 * (most - least)) / 2) : std::sqrt(v);
  });
  return kernels::binary(Binary::multiply, sigma, noise);
}

Var DDPMScheduler::clip(const Var& clean) const {
  return config_.thresholding ? threshold_clean(clean, config_) : clip_clean(clean, config_);
}

StepResult DDPMScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                               const NoiseSource& noise) {
  const int64_t t = timestep(index);
  const float abar = schedule_.alpha_cumprod(t), next = schedule_.alpha_cumprod(next_timestep(index));
  const float alpha = abar / next;
  Tensor answer = model_output, predicted_variance;
  if (learned_) std::tie(answer, predicted_variance) = split_variance(model_output, sample);
  const Tensor clean = predicted_clean(sample, answer, index).value();

  const float of_clean = std::sqrt(next) * (1 - alpha) / (1 - abar);
  const float of_sample = std::sqrt(alpha) * (1 - next) / (1 - abar);
  const Tensor mean = weighted_sum(of_clean, clean, of_sample, sample);
  if (t == 0) return {mean, clean};
  const Tensor z = noise(sample.shape());
  if (learned_) return {weighted_sum(1, mean, 1, learned_noise(index, predicted_variance, z)), clean};
  return {weighted_sum(1, mean, std::sqrt(variance(index)), z), clean};
}

}  // namespace stipple
