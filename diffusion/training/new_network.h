#pragma once
#include "diffusion/training/train.h"

namespace stipple {

// What a run that starts with random weights will train.
struct NewNetwork {
  UNet2DConfig unet;
  ConditioningConfig conditioning;
};

// The given configuration, or one derived from the pictures, with the classes and the planes for them that the options
// ask for. `data` is null for --replay, which needs a configuration. What contradicts each other throws.
NewNetwork new_network(const TrainOptions&, const std::optional<UNet2DConfig>& given, const Dataset* data);

}  // namespace stipple
