#include "diffusion/schedulers/euler.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"

namespace stipple {

EulerDiscreteScheduler::EulerDiscreteScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions& options)
    : VarianceExplodingSampler(config, steps), options_(options) {
  if (config.timestep_type != "continuous" || config.prediction_type != "v_prediction") return;
  timesteps_.clear();  // as many as sigmas: with log_linear that is one more step than was asked for
  for (size_t i = 0; i + 1 < sigmas_.size(); ++i) timesteps_.push_back(0.25f * std::log(sigmas_[i]));
}

double EulerDiscreteScheduler::churned(double sigma) const {
  const bool churns = sigma >= options_.s_tmin.value_or(0) && sigma <= options_.s_tmax.value_or(INFINITY);
  const double most = std::sqrt(2.0) - 1, steps = static_cast<double>(sigmas_.size() - 1);
  return churns ? sigma * (1 + std::min(options_.s_churn.value_or(0) / steps, most)) : sigma;
}

StepResult EulerDiscreteScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                                        const NoiseSource& noise) {
  const double sigma = sigmas_.at(index), raised = churned(sigma);
  const double fresh = options_.s_noise.value_or(1) * std::sqrt(raised * raised - sigma * sigma);
  const Tensor x = raised > sigma ? weighted_sum(1, sample, fresh, noise(sample.shape())) : sample;
  const Prediction prediction = schedule_.prediction();
  // Under churn diffusers takes a velocity for one at sigma, noise for noise at the raised sigma.
  const double predicted_at = prediction == Prediction::v_prediction ? sigma : raised;
  const Tensor clean = apply(clean_coefficients(prediction, {1, predicted_at}), x, model_output).value();
  return {euler_step(x, clean, raised, sigmas_.at(index + 1)), clean};
}

}  // namespace stipple
