#pragma once
#include "kernels/cuda/tensor_core.h"

namespace stipple::cuda {

// A block's sums in shared memory, on their way from tensor cores to y. Rows are eight floats longer than the tile, so
// that fragments of eight rows are stored in two wavefronts, the fewest; and in every other run of 32 columns, or every
// other row of no more than that, two chunks of four change places, so that who reads eight columns at once, in two
// accesses, meets no bank twice.
template <int kColumns>
struct TileOfSums {
  static constexpr int kPitch = kColumns + 8;
  float* sums;

  __device__ float* at(int row, int column) const {
    const int run = kColumns > 32 ? column / 32 : row;
    return sums + row * kPitch + (column ^ run % 2 * 4);
  }
};

}  // namespace stipple::cuda
