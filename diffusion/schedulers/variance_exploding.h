#pragma once
#include "diffusion/scheduler.h"

// What Euler's and Heun's samplers share: their state is x = x_0 + sigma epsilon, and the network sees it divided by
// sqrt(sigma^2 + 1), which has the variance it was trained on. Karras et al. 2022, arXiv:2206.00364, table 1.

namespace stipple {

class VarianceExplodingSampler : public Sampler {
 public:
  double init_noise_sigma() const override;  // the largest sigma, or sqrt(sigma^2 + 1) with timestep_spacing leading
  NoiseLevel level(size_t index) const override { return {1, sigmas_.at(index)}; }
  double input_scale(size_t index) const override;

  const std::vector<float>& sigmas() const { return sigmas_; }  // one a timestep, and what the last step leads to

 protected:
  // Timesteps, fractions among them, by timestep_spacing; sigmas between those of the schedule; or respaced sigmas and
  // the timesteps that belong to them.
  VarianceExplodingSampler(const SchedulerConfig&, int64_t steps);

  // A step of Euler's method for dx/dsigma = (x - x_0) / sigma: x + (x - x_0) / sigma (next - sigma), sorted by x and
  // x_0, so that from sigma = 20,000 to 3 nothing cancels.
  static Tensor euler_step(const Tensor& sample, const Tensor& clean, double sigma, double next);

  std::vector<float> sigmas_;
};

}  // namespace stipple
