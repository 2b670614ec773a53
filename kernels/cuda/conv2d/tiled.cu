#include "kernels/cuda/conv2d/problem.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"

// conv2d, rung tiled: a block computes 64 x 64 outputs, and shares what they have in common.
//
// Idea    for every 16 steps of depth the block fetches 64 x 16 elements of a and 16 x 64 of b into shared memory; each
//         of its 256 threads then keeps 4 x 4 sums in registers. An element is fetched once for 64 outputs instead of
//         once for each, and read from shared memory once for 4.
// Costs   two 16-byte reads of shared memory for 16 multiply-adds; the divisions that find an element of a window are
//         made for every element fetched; nothing is fetched while the block computes.
// Tried   tiles [row][depth]: the four rows of a thread are then four reads instead of one, and those of a warp lie in
//         few banks.

namespace stipple::cuda::tiled {
namespace {

constexpr int kTile = 64, kDepth = 16,
              kEach = 4;              // rows and columns of a block, steps at a time, sums a thread and side
constexpr int kSide = kTile / kEach;  // threads along a side of the tile
static_assert(kSide * kSide == kThreads);

struct alignas(16) Tiles {
  float a[kDepth][kTile + 4], b[kDepth][kTile + 4];  // 4 more, so that a column does not lie in one bank
};

// Neighbouring threads fetch neighbours in memory: of a along depth where windows lie so, else along rows.
template <typename Problem>
__device__ void fetch(Tiles& tiles, const Problem& problem, int row, int column, int depth) {
  for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
    const int r = i / kDepth, d = i % kDepth;
    const bool inside = row + r < problem.rows() && depth + d < problem.depth();
    tiles.a[d][r] = inside ? problem.a(row + r, depth + d) : 0;
  }
  for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
    const int d = i / kTile, c = i % kTile;
    const bool inside = column + c < problem.columns() && depth + d < problem.depth();
    tiles.b[d][c] = inside ? problem.b(depth + d, column + c) : 0;
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

__host__ __device__ int tiles_of(int n) { return (n + kTile - 1) / kTile; }

template <typename Problem>
__global__ void __launch_bounds__(kThreads) conv2d_tiled_kernel(Problem problem) {
  auto& tiles = static_shared<Tiles>();
  const int across = tiles_of(problem.columns());
  const int row = blockIdx.x / across * kTile, column = blockIdx.x % across * kTile;
  const int my_row = threadIdx.x / kSide * kEach, my_column = threadIdx.x % kSide * kEach;
  float sums[kEach][kEach] = {};
  for (int depth = 0; depth < problem.depth(); depth += kDepth) {
    fetch(tiles, problem, row, column, depth);
    __syncthreads();
    multiply(sums, tiles, my_row, my_column);
    __syncthreads();
  }
  for (int i = 0; i < kEach; ++i)
    for (int j = 0; j < kEach; ++j)
      if (row + my_row + i < problem.rows() && column + my_column + j < problem.columns())
        problem.put(row + my_row + i, column + my_column + j, sums[i][j]);
}

template <typename Problem>
void run(const Problem& problem) {
  const int64_t tiles = int64_t{tiles_of(problem.rows())} * tiles_of(problem.columns());
  launch(conv2d_tiled_kernel<Problem>, dim3(static_cast<unsigned>(tiles)), kThreads, 0, problem);
}

}  // namespace

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Correlation& g) {
  for_floating("conv2d", x.dtype(), [&]<typename T>(T) {
    run(ForwardProblem<T>{g, mutable_data<T>(y), data<T>(x), data<T>(weight), bias ? data<float>(bias) : nullptr});
  });
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(InputGradientProblem<T>{g, mutable_data<T>(dx), data<T>(dy), data<T>(weight)});
  });
}

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(WeightGradientProblem<T>{
        {g, nullptr, data<T>(x), nullptr, nullptr}, mutable_data<float>(dweight.to), dweight.add, data<T>(dy)});
  });
}

}  // namespace stipple::cuda::tiled
