#pragma once
#include "diffusion/conditioning.h"
#include "diffusion/unet.h"

namespace stipple {

// Throws where the U-Net embeds something else than classes (class_embed_type "timestep" or "identity"): `forward` has
// inputs for that, sampling and training have not.
void check_takes_classes(const UNet2DConfig&);

// The network that predicts: the U-Net, and where classes enter as channels, their table.
struct Denoiser {
  ConditioningConfig conditioning;
  UNet2DModel unet;
  std::optional<Embedding> class_emb;

  Denoiser(Scope, const UNet2DConfig&, const ConditioningConfig&);

  int64_t image_channels() const;
  // x [N, H, W, image_channels], timesteps [N], labels as the U-Net or the planes want them.
  Var operator()(const Var& x, const Tensor& timesteps, const Tensor& labels = {}) const;
};

}  // namespace stipple
