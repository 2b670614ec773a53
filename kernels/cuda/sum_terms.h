#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"

// One sum over terms that are computed as they are read: every block sums kTerms of them, and one more block adds what
// those leave. Cut by shape alone, so the same bits come out in every run.

namespace stipple::cuda {

inline constexpr int64_t kTerms = 16 * kThreads;

template <typename Term>
__global__ void sum_terms_kernel(float* __restrict__ partials, Term term, int64_t n) {
  const int64_t first = blockIdx.x * kTerms, last = min(first + kTerms, n);
  float sum = 0;
  for (int64_t i = first + threadIdx.x; i < last; i += kThreads) sum += term(i);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

template <typename Put>
__global__ void finish_sum_kernel(Put put, const float* __restrict__ partials, int64_t count) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += partials[i];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) put(sum);
}

// Calls put(sum of term(i), 0 <= i < n) on the GPU; both are structs with a __device__ operator().
template <typename Term, typename Put>
void sum_terms(const Term& term, int64_t n, const Put& put) {
  const dim3 blocks = blocks_for(n, kTerms);
  const Tensor partials({static_cast<int64_t>(blocks.x)}, Dtype::f32, Device::cuda);
  if (n > 0) launch(sum_terms_kernel<Term>, blocks, kThreads, 0, mutable_data<float>(partials), term, n);
  launch(finish_sum_kernel<Put>, dim3(1), kThreads, 0, put, data<float>(partials), partials.numel());
}

// Where a sum goes, times `scale`.
template <typename T>
struct Scaled {
  T* to;
  float scale;
  __device__ void operator()(float sum) const { *to = scale * sum; }
};

}  // namespace stipple::cuda
