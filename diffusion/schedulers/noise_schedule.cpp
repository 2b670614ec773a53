#include <algorithm>
#include <cmath>

#include "diffusion/scheduler.h"
#include "diffusion/schedulers/prediction.h"
#include "kernels/arithmetic.h"

namespace stipple {
namespace {

using Table = std::vector<float>;

// n numbers in f32, each computed from the nearer end and rounded once: the same bits as torch.linspace, which matters
// at the noisy end, where a clean image multiplies a rounding of abar by thousands.
Table linspace(double first, double last, int64_t n) {
  const float from = static_cast<float>(first), to = static_cast<float>(last);
  const float stride = n > 1 ? (to - from) / static_cast<float>(n - 1) : 0;
  Table table(n);
  for (int64_t i = 0; i < n; ++i)
    table[i] = i < n / 2 ? std::fma(stride, static_cast<float>(i), from)
                         : std::fma(-stride, static_cast<float>(n - 1 - i), to);
  if (n == 1) table[0] = from;
  return table;
}

// Betas that lead from abar(0) to abar(1) in n steps, at most 0.999 each.
template <typename F>
Table betas_for(int64_t n, F abar) {
  const auto at = [&](int64_t i) { return abar(static_cast<double>(i) / static_cast<double>(n)); };
  Table betas(n);
  for (int64_t i = 0; i < n; ++i) betas[i] = static_cast<float>(std::min(1 - at(i + 1) / at(i), 0.999));
  return betas;
}

// Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
double cosine_abar(double t) { return std::pow(std::cos((t + 0.008) / 1.008 * M_PI / 2), 2); }

double exponential_abar(double t) { return std::exp(-12 * t); }

// The logarithm of the signal-to-noise ratio is distributed as Laplace's. Hang et al. 2024, arXiv:2407.03297, table 1.
double laplace_abar(double t) {
  const double log_snr = -0.5 * std::copysign(1, 0.5 - t) * std::log(1 - 2 * std::abs(0.5 - t) + 1e-6);
  return std::sqrt(1 / (1 + std::exp(-log_snr)));
}

Table scaled_linear_betas(double first, double last, int64_t n) {
  Table betas = linspace(std::sqrt(first), std::sqrt(last), n);
  for (float& beta : betas) beta *= beta;
  return betas;
}

Table sigmoid_betas(double first, double last, int64_t n) {
  Table betas = linspace(-6, 6, n);
  const float range = static_cast<float>(last - first), shift = static_cast<float>(first);
  for (float& beta : betas) beta = 1 / (1 + std::exp(-beta)) * range + shift;
  return betas;
}

Table betas_of(const SchedulerConfig& c) {
  if (c.trained_betas) return {c.trained_betas->begin(), c.trained_betas->end()};
  if (c.beta_schedule == "linear") return linspace(c.beta_start, c.beta_end, c.num_train_timesteps);
  if (c.beta_schedule == "scaled_linear") return scaled_linear_betas(c.beta_start, c.beta_end, c.num_train_timesteps);
  if (c.beta_schedule == "sigmoid") return sigmoid_betas(c.beta_start, c.beta_end, c.num_train_timesteps);
  if (c.beta_schedule == "exp") return betas_for(c.num_train_timesteps, exponential_abar);
  if (c.beta_schedule == "laplace") return betas_for(c.num_train_timesteps, laplace_abar);
  return betas_for(c.num_train_timesteps, cosine_abar);
}

Table alphas_cumprod(const Table& betas) {
  Table products;
  double product = 1;
  for (float beta : betas) products.push_back(static_cast<float>(product *= 1 - beta));
  return products;
}

// Shifts and scales sqrt(abar) so that its last value is zero and its first stays: the last timestep is noise only. Lin
// et al. 2023, arXiv:2305.08891, algorithm 1. Goes by way of betas, as diffusers does, to round alike.
Table zero_snr_betas(const Table& betas) {
  Table roots = alphas_cumprod(betas);
  for (float& root : roots) root = std::sqrt(root);
  const float first = roots.front(), last = roots.back(), stretch = first / (first - last);
  Table rescaled;
  float previous = 1;
  for (float root : roots) {
    const float shifted = (root - last) * stretch, abar = shifted * shifted;
    rescaled.push_back(1 - abar / previous);
    previous = abar;
  }
  return rescaled;
}

// [N, 1, ..., 1] of the images' dtype and rank: f(abar_t) for the timestep of each.
template <typename F>
Tensor per_image(const NoiseSchedule& schedule, const Tensor& images, const Tensor& timesteps, F f) {
  check(timesteps.shape() == Shape{images.dim(0)}, "noise schedule: {} timesteps for images {}", describe(timesteps),
        describe(images));
  Shape shape{images.dim(0)};
  for (int i = 1; i < images.rank(); ++i) shape.push_back(1);
  std::vector<float> values;
  for (int64_t t : timesteps.to_vector<int64_t>()) values.push_back(f(schedule.alpha_cumprod(t)));
  return Tensor::of(shape, values).to(images.dtype()).to(images.device());
}

Tensor signal(const NoiseSchedule& schedule, const Tensor& images, const Tensor& timesteps) {
  return per_image(schedule, images, timesteps, [](float abar) { return std::sqrt(abar); });
}

Tensor noise_level(const NoiseSchedule& schedule, const Tensor& images, const Tensor& timesteps) {
  return per_image(schedule, images, timesteps, [](float abar) { return std::sqrt(1 - abar); });
}

// a x (operation) b y, with a and b [N, 1, ..., 1].
Tensor combine(const Tensor& a, const Tensor& x, Binary operation, const Tensor& b, const Tensor& y) {
  check(x.shape() == y.shape(), "noise schedule: images {} and noise {} differ", describe(x), describe(y));
  return kernels::binary(operation, kernels::binary(Binary::multiply, x, a), kernels::binary(Binary::multiply, y, b));
}

}  // namespace

NoiseSchedule::NoiseSchedule(const SchedulerConfig& config) {
  config.check();
  prediction_ = prediction_of(config.prediction_type);
  const Table betas = betas_of(config);
  alphas_cumprod_ = alphas_cumprod(config.rescale_betas_zero_snr ? zero_snr_betas(betas) : betas);
}

float NoiseSchedule::alpha_cumprod(int64_t t) const {
  if (t == -1) return 1;
  check(t >= 0 && t < size(), "noise schedule: timestep {}; there are 0 to {}", t, size() - 1);
  return alphas_cumprod_[t];
}

Tensor NoiseSchedule::add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const {
  return combine(signal(*this, clean, timesteps), clean, Binary::add, noise_level(*this, clean, timesteps), noise);
}

Tensor NoiseSchedule::target(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const {
  if (prediction_ == Prediction::epsilon) return noise;
  if (prediction_ == Prediction::sample) return clean;
  return combine(signal(*this, clean, timesteps), noise, Binary::subtract, noise_level(*this, clean, timesteps), clean);
}

NoiseLevel NoiseSchedule::level(int64_t t) const {
  const float abar = alpha_cumprod(t);
  return {std::sqrt(abar), std::sqrt(1 - abar)};
}

}  // namespace stipple
