#pragma once
#include "diffusion/image/image.h"

namespace stipple {

// Bilinear with antialiasing, bit for bit what Pillow's Image.resize(..., BILINEAR) and so torchvision's Resize give: a
// triangle filter as wide as the ratio, first along rows, then along columns, in fixed point of 22 bits, rounded
// between.
Image resize(const ImageView&, int64_t height, int64_t width);

// Its short side becomes `side`, the long one keeps the proportions, rounded down (torchvision.transforms.Resize).
Image resize_short_side(const ImageView&, int64_t side);

Image crop(const ImageView&, int64_t top, int64_t left, int64_t height, int64_t width);
Image center_crop(const ImageView&, int64_t height,
                  int64_t width);  // odd margins as in torchvision.transforms.CenterCrop

// 1 -> 3 repeats grey; 3 -> 1 is 0.299 R + 0.587 G + 0.114 B (ITU-R 601-2) in Pillow's fixed point.
Image with_channels(Image, int64_t channels);

}  // namespace stipple
