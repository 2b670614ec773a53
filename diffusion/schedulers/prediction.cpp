#include "diffusion/schedulers/prediction.h"

#include <algorithm>
#include <cmath>

#include "kernels/arithmetic.h"
#include "kernels/clamp.h"

namespace stipple {
namespace {

// Between the two neighbours in rank, linearly, as torch.quantile.
template <typename T>
double quantile_of_magnitudes(const T* x, int64_t n, double q) {
  std::vector<T> magnitudes(n);
  std::transform(x, x + n, magnitudes.begin(), [](T v) { return std::abs(v); });
  const double rank = q * static_cast<double>(n - 1);
  const auto below = magnitudes.begin() + static_cast<int64_t>(rank);
  std::nth_element(magnitudes.begin(), below, magnitudes.end());
  if (below + 1 == magnitudes.end()) return *below;
  const double above = *std::min_element(below + 1, magnitudes.end());
  return *below + (rank - std::floor(rank)) * (above - *below);
}

double threshold(const Tensor& image, const SchedulerConfig& config) {
  const double s = for_real("thresholding", image.dtype(), [&]<typename T>(T) {
    return quantile_of_magnitudes(image.data<T>(), image.numel(), config.dynamic_thresholding_ratio);
  });
  return std::min(std::max(s, 1.0), config.sample_max_value);
}

Tensor threshold_images(const Tensor& clean, const SchedulerConfig& config) {
  Tensor within = empty_like(clean);
  for (int64_t n = 0; n < clean.dim(0); ++n) {
    const double s = threshold(clean[n], config);
    within[n].copy_from(kernels::affine(kernels::clamp(clean[n], -s, s), 1 / s, 0));
  }
  return within;
}

// Ascending.
int64_t spaced_timestep(const SchedulerConfig& config, int64_t steps, int64_t i) {
  const int64_t total = config.num_train_timesteps;
  if (config.timestep_spacing == "leading") return i * (total / steps) + config.steps_offset;
  if (config.timestep_spacing == "trailing") {
    const double end = static_cast<double>(total), second = end - end / static_cast<double>(steps);
    return std::llrint(end - static_cast<double>(steps - 1 - i) * (end - second)) - 1;  // numpy.arange's stride
  }
  const double stride = static_cast<double>(total - 1) / static_cast<double>(std::max<int64_t>(1, steps - 1));
  return std::llrint(static_cast<double>(i) * stride);
}

}  // namespace

Prediction prediction_of(const std::string& prediction_type) {
  if (prediction_type == "epsilon") return Prediction::epsilon;
  if (prediction_type == "sample") return Prediction::sample;
  if (prediction_type == "v_prediction") return Prediction::v_prediction;
  fail("prediction_type '{}' is unknown; there are epsilon, sample, v_prediction", prediction_type);
}

Coefficients clean_coefficients(Prediction prediction, float alpha_cumprod) {
  const double signal = std::sqrt(alpha_cumprod), noise = std::sqrt(1 - alpha_cumprod);
  if (prediction == Prediction::sample) return {0, 1};
  if (prediction == Prediction::v_prediction) return {signal, -noise};
  return {1 / signal, -noise / signal};
}

Tensor predict_clean(const Coefficients& c, const Tensor& sample, const Tensor& model_output) {
  check(model_output.shape() == sample.shape() && model_output.dtype() == sample.dtype(),
        "sampler: the network answers {} for {}", describe(model_output), describe(sample));
  return weighted_sum(c.sample, sample, c.model_output, model_output);
}

Tensor epsilon_from(const Tensor& sample, const Tensor& clean, float alpha_cumprod) {
  const double signal = std::sqrt(alpha_cumprod), noise = std::sqrt(1 - alpha_cumprod);
  return weighted_sum(1 / noise, sample, -signal / noise, clean);
}

Tensor clip_clean(const Tensor& clean, const SchedulerConfig& config) {
  if (config.thresholding) return threshold_images(clean, config);
  if (config.clip_sample) return kernels::clamp(clean, -config.clip_sample_range, config.clip_sample_range);
  return clean;
}

std::vector<double> spaced_timesteps(const SchedulerConfig& config, int64_t steps) {
  config.check();
  const int64_t total = config.num_train_timesteps;
  check(steps >= 1 && steps <= total, "sampler: {} steps; it can do 1 to {} (num_train_timesteps)", steps, total);
  std::vector<double> timesteps;
  for (int64_t i = steps - 1; i >= 0; --i) {
    const int64_t t = spaced_timestep(config, steps, i);
    check(t >= 0 && t < total, "sampler: {} steps with steps_offset {} lead to timestep {}, the schedule ends at {}",
          steps, config.steps_offset, t, total - 1);
    timesteps.push_back(static_cast<double>(t));
  }
  return timesteps;
}

Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y) {
  Tensor sum = kernels::affine(x, a, 0);
  kernels::accumulate(sum, kernels::affine(y, b, 0));
  return sum;
}

}  // namespace stipple
