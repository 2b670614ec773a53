#pragma once
#include "kernels/cuda/shared_memory.h"

// Sums over the threads of a block, in a fixed order: the same bits in every run.

namespace stipple::cuda {

inline constexpr unsigned kAllLanes = 0xFFFFFFFF;

// Every lane gets the sum over its warp.
__device__ inline float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}

template <int kThreads>
struct WarpSums {
  float of[kThreads / 32];
};

// Every thread gets the sum over its block of kThreads threads, all of which must call it.
template <int kThreads>
__device__ inline float block_sum(float x) {
  auto& sums = static_shared<WarpSums<kThreads>>();
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) sums.of[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0;
  for (int warp = 0; warp < kThreads / 32; ++warp) total += sums.of[warp];
  __syncthreads();  // so that the next call may write
  return total;
}

}  // namespace stipple::cuda
