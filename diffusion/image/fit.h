#pragma once
#include "diffusion/image/image.h"

namespace stipple {

// A picture as a network takes it: the largest part from its middle that has the proportions of height x width, resized
// to that, with 1 or 3 channels.
Image fit_picture(const Image&, int64_t height, int64_t width, int64_t channels);

}  // namespace stipple
