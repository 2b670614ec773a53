#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "diffusion/image/image.h"

namespace stipple {

// A picture of at most 256 colours: a colour's number for each pixel, and the colours.
struct IndexedImage {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;                 // rows from the top
  std::vector<std::array<uint8_t, 3>> colors;  // red, green, blue
};

// The picture itself where it has no more than 256 colours, as grey ones always. Else by median cut (Heckbert 1982,
// "Color image quantization for frame buffer display"): the box that holds the largest sum of squared distances to its
// mean is cut in two at the mean of its widest channel, until there are 256.
IndexedImage indexed(const ImageView&);

}  // namespace stipple
