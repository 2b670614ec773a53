#pragma once
#include "kernels/cuda/launch.h"

// Long sums are cut over blocks; what the blocks leave adds up in order, so the same bits come out in every run.

namespace stipple::cuda {

template <typename Put>
__global__ void add_partials_kernel(Put put, const float* __restrict__ partials, int count, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  float sum = 0;
#pragma unroll 8  // so many loads under way
  for (int p = 0; p < count; ++p) sum += partials[p * n + i];
  put(i, sum);
}

// Calls put(i, sum of partials[.., i]) on the GPU for partials [count, n]; put is a struct with a __device__
// operator().
template <typename Put>
void add_partials(const Put& put, const float* partials, int count, int64_t n) {
  launch(add_partials_kernel<Put>, blocks_for(n), kThreads, 0, put, partials, count, n);
}

// Where a parameter's gradient goes.
struct GradientElement {
  float* to;
  bool add;
  __device__ void operator()(int64_t i, float sum) const { to[i] = add ? to[i] + sum : sum; }
};

}  // namespace stipple::cuda
