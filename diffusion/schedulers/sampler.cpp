#include <algorithm>
#include <cctype>
#include <cmath>

#include "autograd/ops/arithmetic.h"
#include "autograd/ops/shape.h"
#include "diffusion/schedulers/ddim.h"
#include "diffusion/schedulers/ddim_inverse.h"
#include "diffusion/schedulers/ddpm.h"
#include "diffusion/schedulers/dpm_solver.h"
#include "diffusion/schedulers/euler.h"
#include "diffusion/schedulers/euler_ancestral.h"
#include "diffusion/schedulers/heun.h"
#include "diffusion/schedulers/prediction.h"

namespace stipple {
namespace {

template <typename T>
std::unique_ptr<Sampler> make(const SchedulerConfig& config, int64_t steps, const StepOptions& options) {
  return std::make_unique<T>(config, steps, options);
}

struct Kind {
  const char *name, *class_name;
  std::unique_ptr<Sampler> (*make)(const SchedulerConfig&, int64_t, const StepOptions&);
};

constexpr Kind kKinds[] = {
    {"ddpm", "DDPMScheduler", make<DDPMScheduler>},
    {"ddim", "DDIMScheduler", make<DDIMScheduler>},
    {"ddim-inverse", "DDIMInverseScheduler", make<DDIMInverseScheduler>},
    {"dpm-solver", "DPMSolverMultistepScheduler", make<DPMSolverMultistepScheduler>},
    {"euler", "EulerDiscreteScheduler", make<EulerDiscreteScheduler>},
    {"euler-ancestral", "EulerAncestralDiscreteScheduler", make<EulerAncestralDiscreteScheduler>},
    {"heun", "HeunDiscreteScheduler", make<HeunDiscreteScheduler>},
};

const Kind& kind_of(const std::string& sampler) {
  std::string name = sampler, list;
  std::replace(name.begin(), name.end(), '_', '-');
  for (const Kind& kind : kKinds) {
    if (name == kind.name || name == kind.class_name) return kind;
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", kind.name, kind.class_name);
  }
  fail("sampler '{}' is unknown; there are {}", sampler, list);
}

void check_options(const std::string& class_name, const StepOptions& o) {
  const auto only = [&](bool given, const char* option, const char* owner) {
    check(!given || class_name == owner, "{}: takes no {}; {} does", class_name, option, owner);
  };
  only(o.eta.has_value(), "eta", "DDIMScheduler");
  only(o.use_clipped_model_output.has_value(), "use_clipped_model_output", "DDIMScheduler");
  only(o.s_churn.has_value(), "s_churn", "EulerDiscreteScheduler");
  only(o.s_tmin.has_value(), "s_tmin", "EulerDiscreteScheduler");
  only(o.s_tmax.has_value(), "s_tmax", "EulerDiscreteScheduler");
  only(o.s_noise.has_value(), "s_noise", "EulerDiscreteScheduler");
  check(o.s_tmin.value_or(0) <= o.s_tmax.value_or(INFINITY), "{}: s_tmin {} is above s_tmax {}: no step has noise",
        class_name, o.s_tmin.value_or(0), o.s_tmax.value_or(INFINITY));
  check(o.s_churn.value_or(0) > 0 || !(o.s_tmin || o.s_tmax || o.s_noise),
        "{}: s_tmin, s_tmax and s_noise are about the noise that s_churn adds; without s_churn above 0 there is none",
        class_name);
}

// A state that is noise only says nothing of the clean image: (x - noise) / 0 is infinite. Clipped, that is an end of
// the range by the sign of the difference, and so it is with this signal in place of none.
constexpr double kHardlyAny = 1e-12;

}  // namespace

Sampler::Sampler(const SchedulerConfig& config, std::vector<double> timesteps)
    : config_(config), schedule_(config), timesteps_(std::move(timesteps)) {}

NoiseLevel Sampler::level(size_t index) const { return schedule_.level(timestep(index)); }

Var Sampler::scale_model_input(const Var& sample, size_t index) const {
  const double scale = input_scale(index);
  return scale == 1 ? sample : affine(sample, scale, 0);
}

Tensor Sampler::add_noise(const Tensor& clean, const Tensor& noise, size_t index) const {
  return weighted_sum(level(index).signal, clean, level(index).noise, noise);
}

Coefficients Sampler::clean_from(size_t index) const {
  NoiseLevel x = level(index);
  const bool clips = config_.clip_sample && !config_.thresholding;
  if (x.signal == 0 && clips) x.signal = kHardlyAny;
  return clean_coefficients(schedule_.prediction(), x);
}

Var Sampler::predicted_clean(const Var& sample, const Var& model_output, size_t index) const {
  const int64_t channels = sample.dim(-1);
  const bool variance_too = config_.variance_type.starts_with("learned") && model_output.dim(-1) == 2 * channels;
  const Var answer = variance_too ? split_channels(model_output, channels).first : model_output;
  return clip(apply(clean_from(index), sample, answer));
}

std::string scheduler_class(const std::string& sampler) { return kind_of(sampler).class_name; }

std::unique_ptr<Sampler> make_sampler(const std::string& name, const SchedulerConfig& config, int64_t steps,
                                      const StepOptions& options) {
  const Kind& kind = kind_of(name);
  check_options(kind.class_name, options);
  return kind.make(config.as(kind.class_name), steps, options);
}

}  // namespace stipple
