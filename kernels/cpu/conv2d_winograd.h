#pragma once
#include <algorithm>

#include "kernels/cpu/conv2d_geometry.h"
#include "kernels/cpu/partial_sums.h"
#include "kernels/cpu/simd/simd.h"

// Rung 3 of conv2d: Winograd's F(4x4, 3x3) for 3x3 filters of stride 1. Lavin & Gray 2015, arXiv:1509.09308,
// section 4.1.
//
// A 4x4 tile Y of the output depends on a 6x6 patch D of the input; with G, B, A of kernels/cpu/simd/winograd.cpp
//   Y      = A^T [ sum_c (G g_c G^T) * (B^T D_c B) ] A        * multiplies element by element
//   dg     = G^T [ sum_tiles (A dY A^T) * (B^T D B) ] G
// so 36 matrix products of (tiles x channels) and (channels x filters) do with 36 multiplications what took 144. The
// input gradient is a convolution with the filter turned around.

namespace stipple::cpu::winograd {

bool fits(const ConvGeometry&);  // 3x3, stride 1
bool pays(const ConvGeometry&);  // fits, and was measured to be faster than the matrix product

void conv2d(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry&);
void conv2d_input_gradient(float* dx, const float* dy, const float* weight, const ConvGeometry&);
void conv2d_weight_gradient(const Destination& dweight, const float* dy, const float* x, const ConvGeometry&);

inline constexpr int64_t kPoints = 36;  // of a tile: planes

// Images [n, h, w, c] as squares of `size` pixels, four pixels from one to the next, the first beginning at (-top,
// -left).
struct Tiles {
  int64_t h, w, c, top, left, high, wide;

  // For outputs of rows x columns pixels.
  Tiles(int64_t h_, int64_t w_, int64_t c_, int64_t top_, int64_t left_, int64_t rows, int64_t columns)
      : h(h_), w(w_), c(c_), top(top_), left(left_), high((rows + 3) / 4), wide((columns + 3) / 4) {}

  int64_t per_image() const { return high * wide; }
  // Of the i-th tile of all images: how far its first pixel lies from the first pixel of all, and which pixels exist.
  int64_t offset(int64_t i) const { return ((i / per_image() * h + row(i)) * w + column(i)) * c; }
  simd::ImagePatch patch(int64_t i, int64_t size, const float* x) const {
    return {.pixels = x + offset(i),
            .row_step = w * c,
            .column_step = c,
            .channels = c,
            .row = std::max<int64_t>(0, -row(i)),
            .row_end = std::min(size, h - row(i)),
            .column = std::max<int64_t>(0, -column(i)),
            .column_end = std::min(size, w - column(i))};
  }

 private:
  int64_t row(int64_t i) const { return i % per_image() / wide * 4 - top; }
  int64_t column(int64_t i) const { return i % wide * 4 - left; }
};

// Floats from one row of a plane to the next: whole vectors, and an odd number of cache lines, so that rows and planes
// do not fall into the same sets of the cache.
inline int64_t plane_pitch(int64_t channels) { return (channels + 15) / 16 / 2 * 32 + 16; }

}  // namespace stipple::cpu::winograd
