#include "diffusion/image/fit.h"

#include <algorithm>

#include "diffusion/image/resize.h"

namespace stipple {

Image fit_picture(const Image& picture, int64_t height, int64_t width, int64_t channels) {
  const int64_t part_height = std::clamp<int64_t>(picture.width * height / width, 1, picture.height);
  const int64_t part_width = std::clamp<int64_t>(picture.height * width / height, 1, picture.width);
  const Image part = center_crop(picture, part_height, part_width);
  return with_channels(resize(part, height, width), channels);
}

}  // namespace stipple
