#include "kernels/cuda/conv2d/whole_chunks.h"
#include "kernels/cuda/launch.h"

namespace stipple::cuda {
namespace {

template <typename T>
__global__ void widen_kernel(T* __restrict__ to, const T* __restrict__ from, int channels, int wider, int64_t n) {
  const int64_t i = global_thread();
  if (i >= n) return;
  const int64_t pixel = i / wider, c = i % wider;
  to[i] = c < channels ? from[pixel * channels + c] : T(0.f);
}

}  // namespace

Tensor in_whole_chunks(const Tensor& x) {
  const int64_t channels = x.dim(-1), wider = in_whole_chunks(channels, x.dtype());
  if (wider == channels || x.numel() == 0) return x;
  Shape shape(x.shape().begin(), x.shape().end() - 1);
  shape.push_back(wider);
  const Tensor widened(shape, x.dtype(), x.device());
  for_floating("conv2d", x.dtype(), [&]<typename T>(T) {
    launch(widen_kernel<T>, blocks_for(widened.numel()), kThreads, 0, mutable_data<T>(widened), data<T>(x),
           static_cast<int>(channels), static_cast<int>(wider), widened.numel());
  });
  return widened;
}

}  // namespace stipple::cuda
