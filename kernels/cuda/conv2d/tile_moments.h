#pragma once
#include "kernels/cuda/conv2d/correlation.h"
#include "kernels/cuda/conv2d/tile_of_sums.h"
#include "kernels/cuda/moments.h"

namespace stipple::cuda {

// Where a convolution leaves the moments of y's channels (moments.h), or null.
struct MomentsOut {
  float* to = nullptr;  // [images, pieces, 2, filters]

  // From the tile of y that begins at pixel `row` and filter `column`. A thread has a filter and a piece to itself and
  // goes over it twice: the second time, sums about the first mean correct it (Chan, Golub & LeVeque 1983, The American
  // Statistician 37, eq. 1.7).
  template <int kRows, int kColumns>
  __device__ void take(const Correlation& g, const TileOfSums<kColumns>& tile, int row, int column) const {
    const int c = threadIdx.x % kColumns, apart = static_cast<int>(blockDim.x) / kColumns * Pieces::kPixels;
    if (column + c >= g.filters) return;
    for (int begin = threadIdx.x / kColumns * Pieces::kPixels; begin < kRows; begin += apart)
      take_piece(g, tile, row, begin, c, column + c);
  }

 private:
  // Of the pixels from `begin` on; a piece may belong to several images.
  template <int kColumns>
  __device__ void take_piece(const Correlation& g, const TileOfSums<kColumns>& tile, int row, int begin, int c,
                             int filter) const {
    const int end = min(begin + Pieces::kPixels, g.pixels() - row), image_pixels = g.rows * g.columns;
    for (int first = begin; first < end;) {
      const int image = (row + first) / image_pixels, last = min(end, (image + 1) * image_pixels - row);
      const auto value = [&](int i) { return *tile.at(first + i, c); };
      put(g, value, last - first, image, (row + begin) / Pieces::kPixels, filter);
      first = last;
    }
  }
  template <typename Value>
  __device__ void put(const Correlation& g, const Value& value, int count, int image, int piece, int filter) const {
    const float each = 1.f / static_cast<float>(count);
    float sum = 0, off = 0, squares = 0;
#pragma unroll 8
    for (int i = 0; i < count; ++i) sum += value(i);
    const float mean = each * sum;
#pragma unroll 8
    for (int i = 0; i < count; ++i) {
      const float d = value(i) - mean;
      off += d, squares += d * d;
    }
    const Pieces pieces{g.rows * g.columns};
    float* const at = to + (int64_t{image} * pieces.of_image() + piece - pieces.first(image)) * 2 * g.filters + filter;
    at[0] = mean + each * off;
    at[g.filters] = squares - off * each * off;
  }
};

}  // namespace stipple::cuda
