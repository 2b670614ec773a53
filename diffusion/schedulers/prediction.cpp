#include "diffusion/schedulers/prediction.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/arithmetic.h"
#include "kernels/arithmetic.h"
#include "kernels/concat.h"

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

// On the host: a quantile sorts.
double threshold(const Tensor& drawn, const SchedulerConfig& config) {
  const Tensor image = drawn.to(Device::cpu);
  const double s = for_real("thresholding", image.dtype(), [&]<typename T>(T) {
    return quantile_of_magnitudes(image.data<T>(), image.numel(), config.dynamic_thresholding_ratio);
  });
  return std::min(std::max(s, 1.0), config.sample_max_value);
}

// [N,1,...,1], one for each image.
Tensor thresholds(const Tensor& clean, const SchedulerConfig& config) {
  Shape shape{clean.dim(0)};
  while (shape.rank() < clean.rank()) shape.push_back(1);
  const Tensor s(shape, clean.dtype());
  for (int64_t n = 0; n < clean.dim(0); ++n) s[n].fill(threshold(clean[n], config));
  return s.to(clean.device());
}

}  // namespace

Prediction prediction_of(const std::string& prediction_type) {
  if (prediction_type == "epsilon") return Prediction::epsilon;
  if (prediction_type == "sample") return Prediction::sample;
  if (prediction_type == "v_prediction") return Prediction::v_prediction;
  fail("prediction_type '{}' is unknown; there are epsilon, sample, v_prediction", prediction_type);
}

Coefficients clean_coefficients(Prediction prediction, const NoiseLevel& x) {
  const double size = x.signal * x.signal + x.noise * x.noise;
  if (prediction == Prediction::sample) return {0, 1};
  if (prediction == Prediction::v_prediction) return {x.signal / size, -x.noise / std::sqrt(size)};
  check(x.signal > 0,
        "sampler: an image that is noise only (rescale_betas_zero_snr) tells prediction_type epsilon nothing of the "
        "clean image, unless clip_sample bounds it; use v_prediction or sample");
  return {1 / x.signal, -x.noise / x.signal};
}

Coefficients noise_coefficients(Prediction prediction, const NoiseLevel& x) {
  const double size = x.signal * x.signal + x.noise * x.noise;
  if (prediction == Prediction::epsilon) return {0, 1};
  if (prediction == Prediction::v_prediction) return {x.noise / size, x.signal / std::sqrt(size)};
  check(x.noise > 0,
        "sampler: an image without noise (set_alpha_to_one) tells prediction_type sample nothing of the noise; use "
        "epsilon or v_prediction");
  return {1 / x.noise, -x.signal / x.noise};
}

Var apply(const Coefficients& c, const Var& sample, const Var& model_output) {
  const Tensor &x = sample.value(), &m = model_output.value();
  check(m.shape() == x.shape() && m.dtype() == x.dtype(), "sampler: the network answers {} for {}", describe(m),
        describe(x));
  if (c.sample == 0 && c.model_output == 1) return model_output;
  return c.sample * sample + c.model_output * model_output;
}

std::pair<Tensor, Tensor> split_variance(const Tensor& model_output, const Tensor& sample) {
  const int64_t channels = sample.dim(-1);
  check(model_output.dim(-1) == 2 * channels,
        "sampler: a learned variance_type needs twice the image's {} channels; the network answers {}", channels,
        describe(model_output));
  Tensor answer = empty_like(sample), variance = empty_like(sample);
  kernels::split_channels({answer, variance}, model_output, channels);
  return {answer, variance};
}

Tensor noise_from(const Tensor& sample, const Tensor& clean, const NoiseLevel& level) {
  return weighted_sum(1 / level.noise, sample, -level.signal / level.noise, clean);
}

Var clip_clean(const Var& clean, const SchedulerConfig& config) {
  if (!config.clip_sample) return clean;
  return clamp(clean, -config.clip_sample_range, config.clip_sample_range);
}

Var threshold_clean(const Var& clean, const SchedulerConfig& config) {
  return config.thresholding ? clamp(clean / Var(thresholds(clean.value(), config)), -1, 1) : clean;
}

Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y) {
  Tensor sum = kernels::affine(x, a, 0);
  kernels::accumulate(sum, kernels::affine(y, b, 0));
  return sum;
}

}  // namespace stipple
