#include "diffusion/schedulers/ddim_inverse.h"

#include <algorithm>

#include "diffusion/schedulers/prediction.h"
#include "diffusion/schedulers/timesteps.h"

namespace stipple {

DDIMInverseScheduler::DDIMInverseScheduler(const SchedulerConfig& config, int64_t steps, const StepOptions&)
    : Sampler(config, spaced_timesteps(config, steps)) {
  check(config.timestep_spacing != "linspace",
        "DDIMInverseScheduler: timestep_spacing \"linspace\" is not supported; there are leading, trailing");
  std::reverse(timesteps_.begin(), timesteps_.end());
}

NoiseLevel DDIMInverseScheduler::level(size_t index) const {
  const int64_t stride = config_.num_train_timesteps / static_cast<int64_t>(timesteps_.size());
  const int64_t from = timestep(index) - stride;
  return schedule_.level(from >= 0 ? from : config_.set_alpha_to_one ? -1 : 0);
}

Var DDIMInverseScheduler::clip(const Var& clean) const { return clip_clean(clean, config_); }

StepResult DDIMInverseScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                                      const NoiseSource&) {
  const Tensor clean = predicted_clean(sample, model_output, index).value();
  const Tensor epsilon = apply(noise_coefficients(schedule_.prediction(), level(index)), sample, model_output).value();
  const NoiseLevel to = schedule_.level(timestep(index));
  return {weighted_sum(to.signal, clean, to.noise, epsilon), clean};
}

}  // namespace stipple
