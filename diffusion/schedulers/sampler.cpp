#include "diffusion/schedulers/ddim.h"
#include "diffusion/schedulers/ddpm.h"

namespace stipple {

Sampler::Sampler(const SchedulerConfig& config, std::vector<double> timesteps)
    : config_(config), schedule_(config), timesteps_(std::move(timesteps)) {}

Coefficients Sampler::clean_from(double timestep) const { return schedule_.clean_from(static_cast<int64_t>(timestep)); }

std::unique_ptr<Sampler> make_sampler(const std::string& name, const SchedulerConfig& config, int64_t steps,
                                      const StepOptions& options) {
  if (name == "ddpm" || name == "DDPMScheduler") return std::make_unique<DDPMScheduler>(config, steps);
  if (name == "ddim" || name == "DDIMScheduler") return std::make_unique<DDIMScheduler>(config, steps, options);
  fail("sampler '{}' is unknown; there are ddpm (DDPMScheduler) and ddim (DDIMScheduler)", name);
}

}  // namespace stipple
