#pragma once
#include "diffusion/scheduler.h"

// Noise levels as sigma = sqrt((1 - abar) / abar), the ratio of noise to signal, in which solvers of the
// probability-flow equation step. Karras et al. 2022, arXiv:2206.00364.

namespace stipple {

// sigma of every timestep of a schedule, ascending, and the way between the two.
class SigmaTable {
 public:
  explicit SigmaTable(const NoiseSchedule&);  // a last abar of zero counts as 2^-24, so that its sigma is finite

  float smallest() const { return sigmas_.front(); }
  float largest() const { return sigmas_.back(); }
  const std::vector<float>& sigmas() const { return sigmas_; }
  double at(double timestep) const;                 // linear between timesteps
  double timestep_of(double sigma) const;           // linear in log sigma between timesteps, from 0 to T - 1
  float final_sigma(const SchedulerConfig&) const;  // what the last step leads to: final_sigmas_type

 private:
  std::vector<float> sigmas_, logs_;
};

// Whether the configuration spaces sigmas by themselves, rather than timesteps. More than one way throws.
bool respaces_sigmas(const SchedulerConfig&);

// n sigmas from `largest` down to `smallest` (or the configuration's sigma_max, sigma_min), with u = 0 ... 1:
//   use_karras_sigmas        (a + u (b - a))^7, a and b the seventh roots                   arXiv:2206.00364, eq. 5
//   use_exponential_sigmas   even in log sigma;   use_lu_lambdas too                        arXiv:2206.00927
//   use_beta_sigmas          smallest + (largest - smallest) q(1 - u), q the quantile of Beta(0.6, 0.6)
//   arXiv:2407.12173
std::vector<double> respaced_sigmas(const SchedulerConfig&, double largest, double smallest, int64_t n);

double beta_quantile(double probability, double shape);  // of the symmetric distribution Beta(shape, shape)

}  // namespace stipple
