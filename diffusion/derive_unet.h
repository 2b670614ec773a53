#pragma once
#include "diffusion/unet_config.h"

namespace stipple {

// A network that suits square pictures of this size, for training without a configuration: the course's for digits (28
// pixels and below), the library's example sizes above. Its levels halve the picture as long as four pixels are left.
UNet2DConfig derive_unet(int64_t resolution, int64_t channels);

std::string summary(const UNet2DConfig&);  // "channels 32/64/64, 2 layers a level, attention at levels 2 and 3"

}  // namespace stipple
