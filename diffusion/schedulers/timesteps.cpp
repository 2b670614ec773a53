#include "diffusion/schedulers/timesteps.h"

#include <algorithm>
#include <cmath>

namespace stipple {
namespace {

double round_half_even(double t) { return std::nearbyint(t); }

// n values: offset + stride (n - 1), ..., offset.
std::vector<double> leading(int64_t stride, int64_t n, int64_t offset) {
  std::vector<double> timesteps;
  for (int64_t i = n - 1; i >= 0; --i) timesteps.push_back(static_cast<double>(i * stride + offset));
  return timesteps;
}

std::vector<double> evenly(int64_t last, int64_t n, bool fractions) {
  std::vector<double> timesteps = linspace(0, static_cast<double>(last), n);
  for (double& t : timesteps) t = fractions ? static_cast<double>(static_cast<float>(t)) : round_half_even(t);
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

// From end - 1 down in strides of total / steps, as numpy.arange adds them up.
std::vector<double> trailing(int64_t end, int64_t total, int64_t steps) {
  const double first = static_cast<double>(end), ratio = static_cast<double>(total) / static_cast<double>(steps);
  const double stride = first - (first - ratio);
  std::vector<double> timesteps;
  for (int64_t i = 0; i < steps; ++i) {
    const double t = round_half_even(first - static_cast<double>(i) * stride) - 1;
    if (t >= 0) timesteps.push_back(t);
  }
  return timesteps;
}

std::vector<double> within(std::vector<double> timesteps, const SchedulerConfig& config) {
  const double last = static_cast<double>(config.num_train_timesteps - 1);
  for (double t : timesteps)
    check(t >= 0 && t <= last, "sampler: {} steps with steps_offset {} lead to timestep {}, the schedule ends at {}",
          timesteps.size(), config.steps_offset, t, last);
  return timesteps;
}

void check_steps(const SchedulerConfig& config, int64_t steps) {
  const int64_t total = config.num_train_timesteps;
  check(steps >= 1 && steps <= total, "sampler: {} steps; it can do 1 to {} (num_train_timesteps)", steps, total);
}

}  // namespace

std::vector<double> linspace(double first, double last, int64_t n) {
  const double stride = n > 1 ? (last - first) / static_cast<double>(n - 1) : 0;
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(first + static_cast<double>(i) * stride);
  if (n > 1) values.back() = last;
  return values;
}

std::vector<double> spaced_timesteps(const SchedulerConfig& config, int64_t steps, bool fractions) {
  check_steps(config, steps);
  const int64_t total = config.num_train_timesteps;
  if (config.timestep_spacing == "leading") return within(leading(total / steps, steps, config.steps_offset), config);
  if (config.timestep_spacing == "trailing") return trailing(total, total, steps);
  return evenly(total - 1, steps, fractions);
}

std::vector<double> solver_timesteps(const SchedulerConfig& config, int64_t steps, int64_t end) {
  check_steps(config, steps);
  if (config.timestep_spacing == "trailing") return trailing(end, config.num_train_timesteps, steps);
  std::vector<double> timesteps = config.timestep_spacing == "leading"
                                      ? leading(end / (steps + 1), steps + 1, config.steps_offset)
                                      : evenly(end - 1, steps + 1, false);
  timesteps.pop_back();
  return within(timesteps, config);
}

}  // namespace stipple
