#include "diffusion/schedulers/variance_exploding.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"
#include "diffusion/schedulers/sigmas.h"
#include "diffusion/schedulers/timesteps.h"

namespace stipple {
namespace {

// steps + 1 of them, the last not zero: diffusers steps to the smallest, not on to final_sigmas_type.
std::vector<double> log_linear(const SigmaTable& table, int64_t steps) {
  std::vector<double> sigmas = linspace(std::log(table.largest()), std::log(table.smallest()), steps + 1);
  for (double& sigma : sigmas) sigma = std::exp(static_cast<float>(sigma));
  return sigmas;
}

std::vector<double> interpolated(const SigmaTable& table, const std::vector<double>& timesteps) {
  std::vector<double> sigmas;
  for (double t : timesteps) sigmas.push_back(table.at(t));
  return sigmas;
}

}  // namespace

VarianceExplodingSampler::VarianceExplodingSampler(const SchedulerConfig& config, int64_t steps)
    : Sampler(config, spaced_timesteps(config, steps, true)) {
  const SigmaTable table(schedule_);
  std::vector<double> sigmas =
      config.interpolation_type == "log_linear" ? log_linear(table, steps) : interpolated(table, timesteps_);
  if (respaces_sigmas(config)) {
    sigmas = respaced_sigmas(config, sigmas.front(), sigmas.back(), steps);
    timesteps_.clear();
    for (double sigma : sigmas) timesteps_.push_back(static_cast<float>(table.timestep_of(sigma)));
  }
  sigmas_.assign(sigmas.begin(), sigmas.end());
  sigmas_.push_back(table.final_sigma(config));
}

double VarianceExplodingSampler::init_noise_sigma() const {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  return config_.timestep_spacing == "leading" ? std::sqrt(largest * largest + 1) : largest;
}

double VarianceExplodingSampler::input_scale(size_t index) const {
  const double sigma = sigmas_.at(index);
  return 1 / std::sqrt(sigma * sigma + 1);
}

// The difference of the sigmas is rounded to f32 as in diffusers: at such ratios that alone is seen in the fourth
// digit.
Tensor VarianceExplodingSampler::euler_step(const Tensor& sample, const Tensor& clean, double sigma, double next) {
  const double way = static_cast<float>(next - sigma) / sigma;
  return weighted_sum(1 + way, sample, -way, clean);
}

}  // namespace stipple
