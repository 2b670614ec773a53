#pragma once
#include "diffusion/image/image.h"
#include "tensor/tensor.h"

namespace stipple {

struct GridOptions {
  int64_t nrow = 8;       // pictures in a row
  int64_t padding = 2;    // pixels between them and around
  uint8_t pad_value = 0;  // of the padding: black
};

// Pictures of one size on one sheet, row by row, as torchvision.utils.make_grid does (a single picture has no border),
// except that grey stays grey. images is [N,H,W,C] with C = 1, 3 or 4: u8, or f32 in [-1, 1] as the networks make it,
// which becomes round(255 clamp(x/2 + 1/2, 0, 1)).
Image make_grid(const Tensor& images, const GridOptions& = {});

// One picture [H,W,C] (or [1,H,W,C]) under the same rule.
Image to_image(const Tensor&);

// The inverse: f32 [H,W,C] in [-1, 1].
Tensor to_tensor(const Image&);

}  // namespace stipple
