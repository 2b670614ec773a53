#pragma once
#include <string>
#include <vector>

#include "diffusion/denoiser.h"
#include "diffusion/scheduler.h"

namespace stipple {

// A folder as diffusers writes it: model_index.json, unet/{config.json, diffusion_pytorch_model.safetensors},
// scheduler/scheduler_config.json, or all of that flat in one folder; beside it, ignored by other programs,
// conditioning/{config.json, model.safetensors}. weight_files.h lists the names that weights may have.
class Pipeline {
 public:
  // A new network, its parameters declared and allocated, not yet initialised.
  Pipeline(const UNet2DConfig&, const ConditioningConfig&, const SchedulerConfig&);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Reads a folder; where its files name different schedulers, model_index.json is right. `notices` receives what the
  // user should be told (unknown keys and the like). Weights of any floating type become f32; `variant` chooses among
  // them ("fp16", "ema"), empty: those without a variant.
  static std::unique_ptr<Pipeline> load(const std::string& folder, std::vector<std::string>& notices,
                                        const std::string& variant = "");

  // Writes all files into a folder (made if missing); the weights are those of `arena`, e.g. the EMA, as f32, f16 or
  // bf16. One that is too large for that type throws before anything is written.
  void save(const std::string& folder, const Tensor& arena, Dtype = Dtype::f32) const;

  Parameters parameters;
  Denoiser denoiser;
  SchedulerConfig scheduler;
  std::string class_name;  // diffusers' for it, DDPMPipeline or the like; empty: the one that suits the scheduler

 private:
  struct Declared {};  // parameters have no memory yet
  Pipeline(Declared, const UNet2DConfig&, const ConditioningConfig&, const SchedulerConfig&);
  void load_weights(const std::string& unet_folder, const std::string& conditioning_folder, const std::string& variant);
};

Dtype save_dtype(const std::string& name);  // of --save-dtype: f32, f16, bf16

}  // namespace stipple
