#include "kernels/cuda/conv2d/turned_weight.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"

// A transposition for each tap: 32 x 32 elements by way of shared memory, so that both sides go by whole sectors.

namespace stipple::cuda {
namespace {

constexpr int kTile = 32, kRowsAtOnce = kThreads / kTile;

template <typename T>
struct Transposed {
  T tile[kTile][kTile + 4 / sizeof(T)];  // a bank more, so that a column does not lie in one
};

struct Taps {
  int filters, r, s, channels;  // of the weight
  Phase h, w;
};

// Block (channels, filters, tap).
template <typename T>
__global__ void turned_weight_kernel(T* __restrict__ to, const T* __restrict__ weight, Taps t) {
  auto& shared = static_shared<Transposed<T>>();
  const int tap = blockIdx.z, taps = t.h.taps * t.w.taps;
  const int r = t.h.phase + t.h.stride * (t.h.taps - 1 - tap / t.w.taps);
  const int s = t.w.phase + t.w.stride * (t.w.taps - 1 - tap % t.w.taps);
  const int x = threadIdx.x % kTile, first = threadIdx.x / kTile;
  for (int y = first; y < kTile; y += kRowsAtOnce) {
    const int k = blockIdx.y * kTile + y, c = blockIdx.x * kTile + x;
    if (k < t.filters && c < t.channels)
      shared.tile[y][x] = weight[((int64_t{k} * t.r + r) * t.s + s) * t.channels + c];
  }
  __syncthreads();
  for (int y = first; y < kTile; y += kRowsAtOnce) {
    const int c = blockIdx.x * kTile + y, k = blockIdx.y * kTile + x;
    if (k < t.filters && c < t.channels) to[(int64_t{c} * taps + tap) * t.filters + k] = shared.tile[x][y];
  }
}

unsigned tiles(int n) { return static_cast<unsigned>((n + kTile - 1) / kTile); }

}  // namespace

Tensor turned_weight(const Tensor& weight, const Phase& h, const Phase& w) {
  const auto extent = [&](int i) { return static_cast<int>(weight.dim(i)); };
  const Taps taps{extent(0), extent(1), extent(2), extent(3), h, w};
  const Tensor turned({weight.dim(3), h.taps, w.taps, weight.dim(0)}, weight.dtype(), weight.device());
  if (turned.numel() == 0) return turned;
  for_floating("conv2d", weight.dtype(), [&]<typename T>(T) {
    launch(turned_weight_kernel<T>,
           dim3(tiles(taps.channels), tiles(taps.filters), static_cast<unsigned>(h.taps * w.taps)), kThreads, 0,
           mutable_data<T>(turned), data<T>(weight), taps);
  });
  return turned;
}

}  // namespace stipple::cuda
