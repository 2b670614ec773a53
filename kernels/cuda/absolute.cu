#include "kernels/absolute.h"
#include "kernels/cuda/launch.h"

// absolute: one element a thread. Bound by memory: x read and y written once.

namespace stipple::cuda {
namespace {

template <typename T>
__global__ void absolute_kernel(T* __restrict__ y, const T* __restrict__ x, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) y[i] = fabsf(x[i]);
}

template <typename T>
__global__ void absolute_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x,
                                         int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const float at = x[i];
  dx[i] = static_cast<float>(dy[i]) * static_cast<float>((at > 0) - (at < 0));
}

}  // namespace

void absolute(Tensor& y, const Tensor& x) {
  if (x.numel() == 0) return;
  for_floating("absolute", x.dtype(), [&]<typename T>(T) {
    launch(absolute_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x), x.numel());
  });
}

void absolute_backward(Tensor& dx, const Tensor& dy, const Tensor& x) {
  if (x.numel() == 0) return;
  for_floating("absolute", x.dtype(), [&]<typename T>(T) {
    launch(absolute_backward_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(dx), data<T>(dy),
           data<T>(x), x.numel());
  });
}

}  // namespace stipple::cuda
