#include "kernels/clamp.h"
#include "kernels/cuda/launch.h"

// clamp: one element a thread. Bound by memory: x read and y written once.

namespace stipple::cuda {
namespace {

template <typename T>
__global__ void clamp_kernel(T* __restrict__ y, const T* __restrict__ x, float low, float high, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const float at = x[i];
  y[i] = at < low ? low : at > high ? high : at;  // NaN stays
}

template <typename T>
__global__ void clamp_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x, float low,
                                      float high, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const float at = x[i];
  dx[i] = at >= low && at <= high ? static_cast<float>(dy[i]) : 0.f;
}

}  // namespace

void clamp(Tensor& y, const Tensor& x, double low, double high) {
  if (x.numel() == 0) return;
  for_floating("clamp", x.dtype(), [&]<typename T>(T) {
    launch(clamp_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x), static_cast<float>(low),
           static_cast<float>(high), x.numel());
  });
}

void clamp_backward(Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high) {
  if (x.numel() == 0) return;
  for_floating("clamp", x.dtype(), [&]<typename T>(T) {
    launch(clamp_backward_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(dx), data<T>(dy), data<T>(x),
           static_cast<float>(low), static_cast<float>(high), x.numel());
  });
}

}  // namespace stipple::cuda
