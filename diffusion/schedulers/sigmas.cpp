#include "diffusion/schedulers/sigmas.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/timesteps.h"

namespace stipple {
namespace {

std::vector<double> karras(double largest, double smallest, int64_t n) {
  std::vector<double> sigmas = linspace(std::pow(largest, 1 / 7.0), std::pow(smallest, 1 / 7.0), n);
  for (double& sigma : sigmas) sigma = std::pow(sigma, 7);
  return sigmas;
}

// From the logarithms of the largest and of the smallest.
std::vector<double> exponential(double first, double last, int64_t n) {
  std::vector<double> sigmas = linspace(first, last, n);
  for (double& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

std::vector<double> beta(double largest, double smallest, int64_t n) {
  std::vector<double> sigmas;
  for (double u : linspace(0, 1, n)) sigmas.push_back(smallest + (largest - smallest) * beta_quantile(1 - u, 0.6));
  return sigmas;
}

// Probability of Beta(a, a) below x <= 1/2, by the series of the incomplete beta function (DLMF 8.17.7).
double beta_probability(double x, double a) {
  const double complete = std::exp(2 * std::lgamma(a) - std::lgamma(2 * a));
  double sum = 0, term = 1;
  for (int k = 0; k < 60; ++k) {
    sum += term / (a + k);
    term *= x * (k + 1 - a) / (k + 1);
  }
  return std::pow(x, a) * sum / complete;
}

}  // namespace

SigmaTable::SigmaTable(const NoiseSchedule& schedule) {
  for (int64_t t = 0; t < schedule.size(); ++t) {
    const float abar = schedule.alpha_cumprod(t) > 0 ? schedule.alpha_cumprod(t) : 0x1p-24f;
    sigmas_.push_back(std::sqrt((1 - abar) / abar));
    logs_.push_back(std::log(sigmas_.back()));
  }
}

double SigmaTable::at(double timestep) const {
  const double last = static_cast<double>(sigmas_.size() - 1), t = std::clamp(timestep, 0.0, last);
  const auto below = static_cast<size_t>(t);
  if (static_cast<double>(below) == t) return sigmas_[below];
  return sigmas_[below] + (t - static_cast<double>(below)) * (static_cast<double>(sigmas_[below + 1]) - sigmas_[below]);
}

double SigmaTable::timestep_of(double sigma) const {
  if (logs_.size() == 1) return 0;
  const double log = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(logs_.begin() + 1, logs_.end() - 1, log);
  const float low = *(above - 1), gap = low - *above;
  return static_cast<double>(above - 1 - logs_.begin()) + std::clamp((low - log) / gap, 0.0, 1.0);
}

float SigmaTable::final_sigma(const SchedulerConfig& config) const {
  return config.final_sigmas_type == "sigma_min" ? smallest() : 0;
}

bool respaces_sigmas(const SchedulerConfig& c) {
  const int ways = c.use_karras_sigmas + c.use_exponential_sigmas + c.use_beta_sigmas + c.use_lu_lambdas;
  check(ways <= 1,
        "sampler: only one of use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas can be true");
  return ways == 1;
}

std::vector<double> respaced_sigmas(const SchedulerConfig& c, double largest, double smallest, int64_t n) {
  if (c.use_lu_lambdas)
    return exponential(std::log(float(largest)), std::log(float(smallest)), n);  // f32, as its table
  const double from = c.sigma_max.value_or(largest), to = c.sigma_min.value_or(smallest);
  check(from > 0 && to > 0, "sampler: sigma_max {} and sigma_min {} must be positive", from, to);
  check(from >= to || n == 1, "sampler: sigma_min {} is above sigma_max {}", to, from);
  if (c.use_karras_sigmas) return karras(from, to, n);
  return c.use_beta_sigmas ? beta(from, to, n) : exponential(std::log(from), std::log(to), n);
}

double beta_quantile(double probability, double shape) {
  if (probability > 0.5) return 1 - beta_quantile(1 - probability, shape);
  double low = 0, high = 0.5;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (beta_probability(middle, shape) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace stipple
