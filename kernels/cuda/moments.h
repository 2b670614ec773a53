#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

// Moments of a map's channels, as a convolution leaves them for a group norm: f32 [N, pieces, 2, C], the mean of a
// channel over a piece's pixels and its sum of squares about that mean. 64 neighbouring pixels of all images make a
// piece; where an image ends within them, both images have a part of it.

namespace stipple::cuda {

struct Pieces {
  static constexpr int kPixels = 64;
  int pixels;  // of an image

  // The most pieces that an image has a part in.
  __host__ __device__ int of_image() const {
    return pixels % kPixels == 0 ? pixels / kPixels : (pixels + kPixels - 2) / kPixels + 1;
  }
  __device__ int first(int image) const { return image * pixels / kPixels; }
  // How many pixels of the i-th of its pieces are the image's; of the last, perhaps none.
  __device__ int count(int image, int i) const {
    const int begin = (first(image) + i) * kPixels;
    return max(0, min(begin + kPixels, (image + 1) * pixels) - max(begin, image * pixels));
  }
};

}  // namespace stipple::cuda
