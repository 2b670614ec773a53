#pragma once
#include <cstddef>
#include <span>

#include "diffusion/image/image.h"

namespace stipple {

// The orientation tag (0x0112) of an EXIF block, which is a small TIFF file in either byte order: 1 (as stored) to 8.
// It is 1 where the tag is missing or the block makes no sense. Every offset is checked: the bytes come from strangers.
int exif_orientation(std::span<const std::byte> tiff);

// Turns a picture stored under that orientation upright (EXIF 2.3, 4.6.4): 2 mirrored left-right, 3 rotated by 180
// degrees, 4 mirrored top-bottom, 5 transposed, 6 to be rotated clockwise by 90 degrees, 7 transversed, 8 to be rotated
// counter-clockwise.
Image upright(Image stored, int orientation);

}  // namespace stipple
