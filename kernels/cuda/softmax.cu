#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/softmax.h"

// softmax: one warp a row.
//
// Idea    lanes take every 32nd element of a row: three walks forward (maximum, sum, result), two backward. Sums meet
//         by shuffles; no shared memory, no barrier.
// Costs   x read three times, the later times from L1; y written once. Rows of fewer than 32 elements leave lanes idle.
// Tried   nothing else: attention, where rows are long and many, has a softmax of its own.

namespace stipple::cuda {
namespace {

constexpr int kRows = kThreads / 32;  // a block

struct Row {
  int64_t number;
  int lane;
  __device__ Row() : number(global_thread() / 32), lane(static_cast<int>(threadIdx.x % 32)) {}
};

__device__ float warp_max(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}

template <typename T>
__global__ void softmax_kernel(T* __restrict__ y, const T* __restrict__ x, int64_t rows, int64_t width) {
  const Row row;
  if (row.number >= rows) return;
  const T* from = x + row.number * width;
  T* to = y + row.number * width;
  float largest = -INFINITY, sum = 0;
  for (int64_t i = row.lane; i < width; i += 32) largest = fmaxf(largest, from[i]);
  largest = warp_max(largest);
  for (int64_t i = row.lane; i < width; i += 32) sum += expf(static_cast<float>(from[i]) - largest);
  const float scale = 1 / warp_sum(sum);
  for (int64_t i = row.lane; i < width; i += 32) to[i] = scale * expf(static_cast<float>(from[i]) - largest);
}

template <typename T>
__global__ void softmax_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ y,
                                        int64_t rows, int64_t width) {
  const Row row;
  if (row.number >= rows) return;
  const int64_t first = row.number * width;
  float sum = 0;
  for (int64_t i = first + row.lane; i < first + width; i += 32)
    sum += static_cast<float>(dy[i]) * static_cast<float>(y[i]);
  sum = warp_sum(sum);
  for (int64_t i = first + row.lane; i < first + width; i += 32)
    dx[i] = static_cast<float>(y[i]) * (static_cast<float>(dy[i]) - sum);
}

}  // namespace

void softmax(Tensor& y, const Tensor& x) {
  if (x.numel() == 0) return;
  const int64_t width = x.dim(-1), rows = x.numel() / width;
  for_floating("softmax", x.dtype(), [&]<typename T>(T) {
    launch(softmax_kernel<T>, blocks_for(rows, kRows), kThreads, 0, mutable_data<T>(y), data<T>(x), rows, width);
  });
}

void softmax_backward(Tensor& dx, const Tensor& dy, const Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t width = y.dim(-1), rows = y.numel() / width;
  for_floating("softmax", y.dtype(), [&]<typename T>(T) {
    launch(softmax_backward_kernel<T>, blocks_for(rows, kRows), kThreads, 0, mutable_data<T>(dx), data<T>(dy),
           data<T>(y), rows, width);
  });
}

}  // namespace stipple::cuda
