#include "kernels/cuda/launch.h"
#include "kernels/fourier_embedding.h"

// fourier_embedding: one element a thread. A few thousand elements, angles in double.

namespace stipple::cuda {
namespace {

constexpr double kTwoPi = 6.283185307179586;

template <typename T>
__global__ void fourier_embedding_kernel(T* __restrict__ y, const double* __restrict__ t,
                                         const T* __restrict__ frequencies, int64_t width, int64_t n) {
  const int64_t at = global_thread();
  if (at >= n) return;
  const int64_t row = at / (2 * width), i = at % (2 * width);
  const double angle = kTwoPi * static_cast<float>(frequencies[i % width]) * log(t[row]);
  y[at] = static_cast<float>(i < width ? sin(angle) : cos(angle));
}

}  // namespace

void fourier_embedding(Tensor& y, const Tensor& t, const Tensor& frequencies) {
  if (y.numel() == 0) return;
  for_floating("fourier_embedding", y.dtype(), [&]<typename T>(T) {
    launch(fourier_embedding_kernel<T>, blocks_for(y.numel()), kThreads, 0, mutable_data<T>(y), data<double>(t),
           data<T>(frequencies), frequencies.dim(0), y.numel());
  });
}

}  // namespace stipple::cuda
