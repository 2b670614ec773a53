#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/dropout.h"
#include "tensor/philox.h"

// dropout: a thread draws one block of Philox and decides about four neighbours. x read and y written once.

namespace stipple::cuda {
namespace {

template <typename T>
__global__ void dropout_kernel(T* __restrict__ y, const T* __restrict__ x, uint64_t seed,
                               const int64_t* __restrict__ device_seed, uint64_t offset, uint32_t least, float scale,
                               int64_t n) {
  const int64_t b = global_thread();
  if (4 * b >= n) return;
  const philox::Words words = philox::block(device_seed ? static_cast<uint64_t>(*device_seed) : seed, offset + b);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) {
    const int64_t i = 4 * b + lane;
    if (i < n) y[i] = words.lane[lane] >> 8 >= least ? scale * static_cast<float>(x[i]) : 0.f;
  }
}

}  // namespace

void dropout(Tensor& y, const Tensor& x, const DropoutOptions& o) {
  if (x.numel() == 0) return;
  const auto least = static_cast<uint32_t>(std::ceil(o.p * 0x1p24));  // what a kept element's 24 bits are
  for_floating("dropout", x.dtype(), [&]<typename T>(T) {
    launch(dropout_kernel<T>, blocks_for(x.numel(), 4 * kThreads), kThreads, 0, mutable_data<T>(y), data<T>(x), o.seed,
           data<int64_t>(o.device_seed), o.offset, least, static_cast<float>(1 / (1 - o.p)), x.numel());
  });
}

}  // namespace stipple::cuda
