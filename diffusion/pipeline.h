#pragma once
#include <string>
#include <vector>

#include "diffusion/denoiser.h"
#include "diffusion/scheduler.h"

namespace stipple {

// A folder as diffusers writes it: model_index.json, unet/{config.json, diffusion_pytorch_model.safetensors},
// scheduler/scheduler_config.json, or all of that flat in one folder; beside it, ignored by other programs,
// conditioning/{config.json, model.safetensors}.
class Pipeline {
 public:
  // A new network, its parameters declared and allocated, not yet initialised.
  Pipeline(const UNet2DConfig&, const ConditioningConfig&, const SchedulerConfig&);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Reads a folder. `notices` receives what the user should be told (unknown keys and the like).
  static std::unique_ptr<Pipeline> load(const std::string& folder, std::vector<std::string>& notices);

  // Writes all files into a folder (made if missing); the weights are those of `arena`, e.g. the EMA.
  void save(const std::string& folder, const Tensor& arena) const;

  Parameters parameters;
  Denoiser denoiser;
  SchedulerConfig scheduler;

 private:
  void load_weights(const std::string& unet_folder, const std::string& conditioning_folder);
};

}  // namespace stipple
