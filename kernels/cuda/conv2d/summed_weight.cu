#include "kernels/cuda/conv2d/summed_weight.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"

// Sums: an element a thread, neighbours along the channels. Their gradient comes transposed: 32 x 32 elements by way of
// shared memory for each tap, so that both sides go by whole sectors.

namespace stipple::cuda {
namespace {

constexpr int kTile = 32, kRowsAtOnce = kThreads / kTile;

struct Transposed {
  float tile[kTile][kTile + 1];
};

struct Filter {
  int filters, r, s, channels;

  explicit Filter(const Tensor& weight)
      : filters(static_cast<int>(weight.dim(0))),
        r(static_cast<int>(weight.dim(1))),
        s(static_cast<int>(weight.dim(2))),
        channels(static_cast<int>(weight.dim(3))) {}
};

template <typename T>
__global__ void summed_weight_kernel(T* __restrict__ to, const T* __restrict__ weight, Filter f, SummedTaps h,
                                     SummedTaps w) {
  const int64_t at = global_thread(), tap = at / f.channels, filter = tap / (h.count * w.count);
  if (filter >= f.filters) return;
  const int c = static_cast<int>(at % f.channels);
  const int t = h.first + static_cast<int>(tap / w.count % h.count) * h.step;
  const int u = w.first + static_cast<int>(tap % w.count) * w.step;
  float sum = 0;
  for (int r = max(0, t - 1); r <= min(t, f.r - 1); ++r)
    for (int s = max(0, u - 1); s <= min(u, f.s - 1); ++s)
      sum += static_cast<float>(weight[((filter * f.r + r) * f.s + s) * f.channels + c]);
  to[at] = sum;
}

// Block (channels, filters, tap).
__global__ void spread_weight_gradient_kernel(GradientElement to, const float* __restrict__ dsums, Filter f) {
  auto& shared = static_shared<Transposed>();
  const int r = blockIdx.z / f.s, s = blockIdx.z % f.s;
  const int x = threadIdx.x % kTile, first = threadIdx.x / kTile;
  for (int y = first; y < kTile; y += kRowsAtOnce) {
    const int c = blockIdx.x * kTile + y, k = blockIdx.y * kTile + x;
    if (k >= f.filters || c >= f.channels) continue;
    const auto of = [&](int t, int u) {
      return dsums[((int64_t{c} * (f.r + 1) + f.r - t) * (f.s + 1) + f.s - u) * f.filters + k];
    };
    shared.tile[y][x] = of(r, s) + of(r, s + 1) + of(r + 1, s) + of(r + 1, s + 1);
  }
  __syncthreads();
  for (int y = first; y < kTile; y += kRowsAtOnce) {
    const int k = blockIdx.y * kTile + y, c = blockIdx.x * kTile + x;
    if (k < f.filters && c < f.channels) to(((int64_t{k} * f.r + r) * f.s + s) * f.channels + c, shared.tile[x][y]);
  }
}

unsigned tiles(int n) { return static_cast<unsigned>((n + kTile - 1) / kTile); }

}  // namespace

Tensor summed_weight(const Tensor& weight, const SummedTaps& h, const SummedTaps& w) {
  const Tensor sums({weight.dim(0), h.count, w.count, weight.dim(3)}, weight.dtype(), weight.device());
  if (sums.numel() == 0) return sums;
  for_floating("conv2d", weight.dtype(), [&]<typename T>(T) {
    launch(summed_weight_kernel<T>, blocks_for(sums.numel()), kThreads, 0, mutable_data<T>(sums), data<T>(weight),
           Filter(weight), h, w);
  });
  return sums;
}

void spread_weight_gradient(const Grad& dweight, const Tensor& dsums) {
  const Filter f(dweight.to);
  if (dweight.to.numel() == 0) return;
  launch(spread_weight_gradient_kernel, dim3(tiles(f.channels), tiles(f.filters), static_cast<unsigned>(f.r * f.s)),
         kThreads, 0, GradientElement{mutable_data<float>(dweight.to), dweight.add}, data<float>(dsums), f);
}

}  // namespace stipple::cuda
