#pragma once
#include "kernels/cuda/tensor_core.h"

namespace stipple::cuda::mma {

// What a block of mma.cu computes: kRows pixels x kColumns filters, of which each of its warps keeps kOwnRows x
// kOwnColumns; a multiprocessor has the registers for kBlocks of them at once (an A100's shared memory for one less of
// the narrow).
template <typename P, int kRowsOfTile, int kColumnsOfTile, int kOwnRows, int kOwnColumns, int kBlocksAtOnce>
struct TileShape {
  using Precision = P;
  using T = typename Precision::Element;
  static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile, kBlocks = kBlocksAtOnce;
  static constexpr int kAcross = kColumns / kOwnColumns, kThreads = kRows / kOwnRows * kAcross * 32;
  static constexpr int kHigh = kOwnRows / 16, kWide = kOwnColumns / 8;  // fragments of a warp

  // Where a warp's part begins.
  __device__ static int row() { return threadIdx.x / 32 / kAcross * kOwnRows; }
  __device__ static int column() { return threadIdx.x / 32 % kAcross * kOwnColumns; }
};

// Filters of several taps keep L2 busy: the larger a tile, the less often it is asked for them, and the larger a warp's
// part, the less often it reads shared memory.
template <typename P>
using Widest = TileShape<P, 256, 128, 64, 64, 1>;
// 1x1 filters are bound by memory: more blocks, some of which read while others write.
template <typename P>
using Wide = TileShape<P, 128, 128, 64, 64, 2>;
// Few filters: four warps, with as much for each as registers hold,
template <typename P>
using Tall = TileShape<P, 256, 64, 64, 64, 2>;
template <typename P>
using Tallest = TileShape<P, 256, 32, 64, 32, 3>;
// and half of it where maps are small. (f32's sums, taken apart, are twice as many registers.)
template <typename P>
using Narrow = TileShape<P, 128, 64, 64, 32, P::kParts == 1 ? 4 : 2>;
template <typename P>
using Narrowest = TileShape<P, 128, 32, 32, 32, P::kParts == 1 ? 5 : 4>;

}  // namespace stipple::cuda::mma
