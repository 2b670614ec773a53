#include "kernels/cuda/matmul/product.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"

// matmul, rung tiled: a block computes 64 x 64 elements of the result, and shares what they have in common.
//
// Idea    for every 16 steps of depth the block fetches 64 x 16 of a and 16 x 64 of b into shared memory; each of its
// 256
//         threads then keeps 4 x 4 sums in registers, for two 16-byte reads of shared memory every 16 multiply-adds.
//         Neighbouring threads fetch along whichever side lies dense in memory, so all four transpositions are
//         coalesced.
// Costs   an element of a is fetched columns / 64 times, one of b rows / 64 times. A gradient of a weight has few tiles
//         and great depth: 128 x 128 keeps four blocks busy.
// Tried   8 x 8 sums a thread: half the reads of shared memory, but a quarter of the blocks, and the products of U-Nets
//         of this size have few blocks already.

namespace stipple::cuda::tiled {
namespace {

constexpr int kTile = 64, kDepth = 16,
              kEach = 4;              // rows and columns of a block, steps at a time, sums a thread and side
constexpr int kSide = kTile / kEach;  // threads along a side of the tile
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

template <typename T, typename C>
__device__ void fetch(Tiles& tiles, const Product<T, C>& p, int row, int column, int depth) {
  for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
    const Spot a(i, !p.transpose_a), b(i, p.transpose_b);
    const bool inside_a = row + a.side < p.size.rows && depth + a.depth < p.size.depth;
    const bool inside_b = column + b.side < p.size.columns && depth + b.depth < p.size.depth;
    tiles.a[a.depth][a.side] = inside_a ? p.left(row + a.side, depth + a.depth) : 0;
    tiles.b[b.depth][b.side] = inside_b ? p.right(depth + b.depth, column + b.side) : 0;
  }
}

__device__ void multiply(float (&sums)[kEach][kEach], const Tiles& tiles, int row, int column) {
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

__host__ __device__ constexpr int tiles_of(int n) { return (n + kTile - 1) / kTile; }

template <typename T, typename C>
__global__ void __launch_bounds__(kThreads) matmul_tiled_kernel(Product<T, C> p) {
  auto& tiles = static_shared<Tiles>();
  const int across = tiles_of(p.size.columns), tile = static_cast<int>(blockIdx.x);
  const int row = tile / across * kTile, column = tile % across * kTile;
  const int thread = static_cast<int>(threadIdx.x);
  const int my_row = thread / kSide * kEach, my_column = thread % kSide * kEach;
  float sums[kEach][kEach] = {};
  for (int depth = 0; depth < p.size.depth; depth += kDepth) {
    fetch(tiles, p, row, column, depth);
    __syncthreads();
    multiply(sums, tiles, my_row, my_column);
    __syncthreads();
  }
  for (int i = 0; i < kEach; ++i)
    for (int j = 0; j < kEach; ++j)
      if (row + my_row + i < p.size.rows && column + my_column + j < p.size.columns)
        p.put(row + my_row + i, column + my_column + j, sums[i][j]);
}

}  // namespace

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  const int64_t blocks = int64_t{tiles_of(size.rows)} * tiles_of(size.columns);
  for_product(c, a, b, bias, size, [&]<typename T, typename C>(const Product<T, C>& p) {
    launch(matmul_tiled_kernel<T, C>, dim3(static_cast<unsigned>(blocks)), kThreads, 0, p);
  });
}

}  // namespace stipple::cuda::tiled
