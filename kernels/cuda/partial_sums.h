#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"

// Long sums are cut over blocks; what the blocks leave adds up in order, so the same bits come out in every run.

namespace stipple::cuda {

// An element a thread.
template <typename Put>
__global__ void add_partials_kernel(Put put, const float* __restrict__ partials, int count, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  float sum = 0;
#pragma unroll 8  // so many loads under way
  for (int p = 0; p < count; ++p) sum += partials[p * n + i];
  put(i, sum);
}

// Block (32 elements): lanes are elements, warps share out the partials, and what they have meets in order.
template <typename Put>
__global__ void add_partials_of_few_kernel(Put put, const float* __restrict__ partials, int count, int64_t n) {
  constexpr int kWarps = kThreads / 32;
  struct Sums {
    float of[kWarps][32];
  };
  auto& sums = static_shared<Sums>();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t i = int64_t{blockIdx.x} * 32 + lane;
  float sum = 0;
#pragma unroll 8
  for (int p = warp; i < n && p < count; p += kWarps) sum += partials[p * n + i];
  sums.of[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || i >= n) return;
  for (int other = 1; other < kWarps; ++other) sum += sums.of[other][lane];
  put(i, sum);
}

constexpr int64_t kFewElements = 1 << 16;  // for which a thread each leaves a GPU idle

// Calls put(i, sum of partials[.., i]) on the GPU for partials [count, n]; put is a struct with a __device__
// operator().
template <typename Put>
void add_partials(const Put& put, const float* partials, int count, int64_t n) {
  if (n > kFewElements) return launch(add_partials_kernel<Put>, blocks_for(n), kThreads, 0, put, partials, count, n);
  launch(add_partials_of_few_kernel<Put>, blocks_for(n, 32), kThreads, 0, put, partials, count, n);
}

// Where a parameter's gradient goes.
struct GradientElement {
  float* to;
  bool add;
  __device__ void operator()(int64_t i, float sum) const { to[i] = add ? to[i] + sum : sum; }
};

}  // namespace stipple::cuda
