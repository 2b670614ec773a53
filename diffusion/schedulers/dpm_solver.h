#pragma once
#include <deque>

#include "diffusion/scheduler.h"

// DPM-Solver, multistep. Lu et al. 2022, arXiv:2206.00927 (dpmsolver) and arXiv:2211.01095 (dpmsolver++ and the
// stochastic forms).
//
// With x = a x_0 + b epsilon, lambda = log(a / b) and h = lambda_t - lambda_s from s to t. D0 is the newest prediction
// m0: of x_0 for the ++ types, of epsilon for the others. With those before it, m1 and m2, h0 and h1 the steps between:
//   D1 = h / h0 (m0 - m1)                          at order 2
//   E = h / h0 (m0 - m1), F = h / h1 (m1 - m2), D1 = E + h0 / (h0 + h1) (E - F), D2 = h / (h0 + h1) (E - F)   at order
//   3 x_t = c x + k (phi1(u) D0 + phi2(u) D1 + phi3(u) D2) + n z,   midpoint: phi1(u) / 2 D1 at order 2
//     phi1(u) = e^u - 1,  phi2(u) = phi1(u) / u - 1,  phi3(u) = (phi2(u)) / u - 1/2
//                        u      c                  k       n
//     dpmsolver          h      a_t / a_s          -b_t    0
//     dpmsolver++        -h     b_t / b_s          -a_t    0
//     sde-dpmsolver      h      a_t / a_s          -2 b_t  b_t sqrt(e^2h - 1)
//     sde-dpmsolver++    -2h    b_t / b_s e^-h     -a_t    b_t sqrt(1 - e^-2h)
// The first steps have lower orders for want of history, the last ones by lower_order_final, euler_at_final, and where
// they lead to sigma = 0.

namespace stipple {

class DPMSolverMultistepScheduler final : public Sampler {
 public:
  DPMSolverMultistepScheduler(const SchedulerConfig&, int64_t steps, const StepOptions& = {});

  NoiseLevel level(size_t index) const override;
  StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) override;
  Var clip(const Var& clean) const override;

 private:
  struct Weights {
    double sample, d0, d1, d2, noise;
  };

  void space_sigmas(int64_t steps);
  int64_t order_at(size_t index) const;
  Weights weights(size_t index, int64_t order) const;
  double step_size(size_t index) const;  // h from timestep `index` to the next
  Tensor predicted_noise(const Tensor& model_output, size_t index, const Tensor& sample, const Tensor& clean) const;
  Tensor combined(const Weights&, size_t index, int64_t order, const Tensor& sample) const;

  bool predicts_clean_, stochastic_;
  std::vector<float> sigmas_;       // one a timestep, and what the last step leads to
  std::deque<Tensor> predictions_;  // m0, m1, m2
  size_t next_index_ = 0;           // they lead to this one
};

}  // namespace stipple
