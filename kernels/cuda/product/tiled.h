#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"

// The second rung of every matrix product: a block computes 64 x 64 results, and shares what they have in common.
//
// A problem is what product/naive.h says, and tells besides which way its operands lie in memory: a_along_depth() and
// b_along_depth(), whether neighbours there are neighbours in depth, or else in row or column.
//
// Idea    for every 16 steps of depth the block fetches 64 x 16 elements of a and 16 x 64 of b into shared memory,
//         neighbouring threads neighbours in memory; each of its 256 threads then keeps 4 x 4 sums in registers. An
//         element is fetched once for 64 results instead of once for each, and read from shared memory once for 4.
// Costs   two 16-byte reads of shared memory for 16 multiply-adds; a convolution makes the divisions that find an
//         element of a window for every element fetched; nothing is fetched while the block computes. A gradient of a
//         weight has few tiles and great depth: 128 x 128 keeps four blocks busy.
// Tried   tiles [row][depth]: the four rows of a thread are then four reads instead of one, and those of a warp lie in
//         few banks. 8 x 8 sums a thread: half the reads of shared memory, but a quarter of the blocks, and the
//         products of U-Nets of this size have few blocks already.

namespace stipple::cuda {
namespace tiles {

constexpr int kTile = 64, kDepth = 16;           // rows and columns of a block, steps at a time
constexpr int kEach = 4, kSide = kTile / kEach;  // sums of a thread along a side, threads along a side
static_assert(kSide * kSide == kThreads);

struct alignas(16) Tiles {
  float a[kDepth][kTile + 4], b[kDepth][kTile + 4];  // 4 more, so that a column does not lie in one bank
};

// Where a thread fetches: along the depth first, or along the side of the tile.
struct Spot {
  int side, depth;
  __device__ Spot(int i, bool along_depth)
      : side(along_depth ? i / kDepth : i % kTile), depth(along_depth ? i % kDepth : i / kTile) {}
};

template <typename Problem>
__device__ void fetch(Tiles& tiles, const Problem& p, int row, int column, int depth) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kThreads) {
    const Spot a(i, p.a_along_depth()), b(i, p.b_along_depth());
    const bool inside_a = row + a.side < p.rows() && depth + a.depth < p.depth();
    const bool inside_b = column + b.side < p.columns() && depth + b.depth < p.depth();
    tiles.a[a.depth][a.side] = inside_a ? p.a(row + a.side, depth + a.depth) : 0;
    tiles.b[b.depth][b.side] = inside_b ? p.b(depth + b.depth, column + b.side) : 0;
  }
}

__device__ inline void multiply(float (&sums)[kEach][kEach], const Tiles& tiles, int row, int column) {
#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    const float4 a = load_vector<float4>(&tiles.a[d][row]), b = load_vector<float4>(&tiles.b[d][column]);
    const float left[kEach] = {a.x, a.y, a.z, a.w}, right[kEach] = {b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
      for (int j = 0; j < kEach; ++j) sums[i][j] += left[i] * right[j];
  }
}

__host__ __device__ constexpr int count(int n) { return (n + kTile - 1) / kTile; }

}  // namespace tiles

template <typename Problem>
__global__ void __launch_bounds__(kThreads) product_tiled_kernel(Problem problem) {
  using namespace tiles;
  auto& shared = static_shared<Tiles>();
  const int across = count(problem.columns()), tile = static_cast<int>(blockIdx.x);
  const int row = tile / across * kTile, column = tile % across * kTile;
  const int thread = static_cast<int>(threadIdx.x);
  const int my_row = thread / kSide * kEach, my_column = thread % kSide * kEach;
  float sums[kEach][kEach] = {};
  for (int depth = 0; depth < problem.depth(); depth += kDepth) {
    fetch(shared, problem, row, column, depth);
    __syncthreads();
    multiply(sums, shared, my_row, my_column);
    __syncthreads();
  }
  for (int i = 0; i < kEach; ++i)
    for (int j = 0; j < kEach; ++j)
      if (row + my_row + i < problem.rows() && column + my_column + j < problem.columns())
        problem.put(row + my_row + i, column + my_column + j, sums[i][j]);
}

template <typename Problem>
void tiled_product(const Problem& problem) {
  const int64_t blocks = int64_t{tiles::count(problem.rows())} * tiles::count(problem.columns());
  launch(product_tiled_kernel<Problem>, dim3(static_cast<unsigned>(blocks)), kThreads, 0, problem);
}

}  // namespace stipple::cuda
