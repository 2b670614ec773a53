#include <algorithm>

#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/conv2d/tensor_core.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"

// conv2d, rung mma: the weight gradient, filters x window, summed over pixels.
//
// Idea    a block computes 64 filters x 128 elements of the window. Pixels go by in stages of 32 (bf16) or 16 (f32),
//         fetched by cp.async three stages ahead. Both operands lie in memory with pixels apart and their own elements
//         side by side, and so they lie in shared memory; ldmatrix transposes bf16 on the way to the tensor cores, and
//         f32 is read element by element. Rows are 8 elements longer than the tile: eight rows of bf16, or four of f32,
//         then lie in different banks.
//         Pixels are split over blocks whatever the shape, for filters x window alone are too few tiles: partial sums
//         in f32 meet in a fixed order.
// Costs   the window is fetched once for every 64 filters, dy once for every 128 elements of the window; partial sums
//         are written and read once.
// Tried   atomic adds instead of partial sums: other bits in every run.

namespace stipple::cuda::mma {
namespace {

constexpr int kFilters = 64, kWindow = 128, kStages = 4, kPad = 8, kChunk = 16;
constexpr int kHigh = 2, kWide = 4;         // fragments of 16 x 8 a warp keeps: 32 filters x 32 elements
constexpr int kWarpsAcross = kWindow / 32;  // and two warps down

template <typename T>
struct Stage {
  static constexpr int kPixels = 64 / sizeof(T);
  T dy[kPixels][kFilters + kPad];
  T x[kPixels][kWindow + kPad];
};

__device__ int warp_filter() { return threadIdx.x / 32 / kWarpsAcross * 32; }
__device__ int warp_element() { return threadIdx.x / 32 % kWarpsAcross * 32; }

// Copies a chunk where it is whole and inside, else element by element, where element(j) points at its j-th or is null.
template <bool kWhole, typename T, typename F>
__device__ void fetch_chunk(T* to, const T* anywhere, const F& element) {
  if constexpr (kWhole) {
    const T* from = element(0);
    ptx::cp_async<kChunk>(to, from ? from : anywhere, from ? kChunk : 0);
  } else {
    for (int j = 0; j < kChunk / static_cast<int>(sizeof(T)); ++j) {
      const T* from = element(j);
      to[j] = from ? *from : T(0.f);
    }
  }
}

template <typename T, bool kWhole>
struct WeightFetcher {
  static constexpr int kLength = kChunk / sizeof(T);
  const Correlation& g;
  const T *dy, *x;
  int filter, element, last_pixel;

  __device__ void operator()(Stage<T>& stage, int pixel) const {
    constexpr int kDyAcross = kFilters / kLength, kXAcross = kWindow / kLength;
    for (int i = threadIdx.x; i < Stage<T>::kPixels * kDyAcross; i += kThreads) {
      const int row = i / kDyAcross, column = i % kDyAcross * kLength;
      fetch_chunk<kWhole>(&stage.dy[row][column], dy,
                          [&](int j) { return upstream(pixel + row, filter + column + j); });
    }
    for (int i = threadIdx.x; i < Stage<T>::kPixels * kXAcross; i += kThreads) {
      const int row = i / kXAcross, column = i % kXAcross * kLength;
      fetch_chunk<kWhole>(&stage.x[row][column], x, [&](int j) { return window(pixel + row, element + column + j); });
    }
  }

 private:
  __device__ const T* upstream(int pixel, int k) const {
    return pixel < last_pixel && k < g.filters ? dy + int64_t{pixel} * g.filters + k : nullptr;
  }
  __device__ const T* window(int pixel, int e) const {
    const int c = e % g.c, s = e / g.c % g.s, r = e / g.c / g.s, map = g.rows * g.columns;
    const int inside = pixel % map, h = inside / g.columns * g.stride + r - g.top;
    const int w = inside % g.columns * g.stride + s - g.left;
    if (pixel >= last_pixel || e >= g.window() || h < 0 || h >= g.h || w < 0 || w >= g.w) return nullptr;
    return x + ((int64_t{pixel / map} * g.h + h) * g.w + w) * g.c + c;
  }
};

// Operands of one step, 32 bytes of pixels, at `pixel` of the stage. First where lanes stand in transposed matrices.
__device__ void read_filters(uint32_t (&to)[4], const Stage<__nv_bfloat16>& stage, int pixel, int filter) {
  ptx::ldmatrix_x4_trans(to, &stage.dy[pixel + lane() % 8 + lane() / 16 * 8][filter + lane() / 8 % 2 * 8]);
}
__device__ void read_window(uint32_t (&to)[2][2], const Stage<__nv_bfloat16>& stage, int pixel, int element) {
  uint32_t raw[4];
  ptx::ldmatrix_x4_trans(raw, &stage.x[pixel + lane() % 16][element + lane() / 16 * 8]);
  to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
}
__device__ void read_filters(uint32_t (&to)[4], const Stage<float>& stage, int pixel, int filter) {
  for (int i = 0; i < 4; ++i)
    to[i] = __float_as_uint(stage.dy[pixel + lane() % 4 + i / 2 * 4][filter + fragment_row() + i % 2 * 8]);
}
__device__ void read_window(uint32_t (&to)[2][2], const Stage<float>& stage, int pixel, int element) {
  for (int j = 0; j < 2; ++j)
    for (int i = 0; i < 2; ++i)
      to[j][i] = __float_as_uint(stage.x[pixel + lane() % 4 + i * 4][element + j * 8 + fragment_row()]);
}

template <typename Precision>
__device__ void multiply(float (&sums)[kHigh][kWide][4], const Stage<typename Precision::Element>& stage) {
  constexpr int kStep = 32 / sizeof(typename Precision::Element);
#pragma unroll
  for (int pixel = 0; pixel < 2 * kStep; pixel += kStep) {
    uint32_t left[kHigh][Precision::kParts][4], right[kWide][Precision::kParts][2];
#pragma unroll
    for (int i = 0; i < kHigh; ++i) {
      uint32_t raw[4];
      read_filters(raw, stage, pixel, warp_filter() + i * 16);
      split<Precision>(left[i], raw);
    }
#pragma unroll
    for (int j = 0; j < kWide; j += 2) {
      uint32_t raw[2][2];
      read_window(raw, stage, pixel, warp_element() + j * 8);
      split<Precision>(right[j], raw[0]);
      split<Precision>(right[j + 1], raw[1]);
    }
#pragma unroll
    for (int i = 0; i < kHigh; ++i)
#pragma unroll
      for (int j = 0; j < kWide; ++j) Precision::multiply(sums[i][j], left[i], right[j]);
  }
}

__device__ void store_sums(float* to, const float (&sums)[kHigh][kWide][4], const Correlation& g, int filter,
                           int element) {
  for (int i = 0; i < kHigh; ++i)
    for (int j = 0; j < kWide; ++j)
      for (int half = 0; half < 2; ++half) {
        const int k = filter + warp_filter() + i * 16 + half * 8 + fragment_row();
        const int e = element + warp_element() + j * 8 + fragment_column();
        float* at = to + int64_t{k} * g.window() + e;
        if (k < g.filters && e + 1 < g.window() && g.window() % 2 == 0)
          store_pair(at, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
        else if (k < g.filters)
          for (int c = 0; c < 2 && e + c < g.window(); ++c) at[c] = sums[i][j][half * 2 + c];
      }
}

// Block (tile, split).
template <typename Precision, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    conv2d_weight_mma_kernel(float* __restrict__ partials, const typename Precision::Element* __restrict__ dy,
                             const typename Precision::Element* __restrict__ x, Correlation g, int pixels_a_split) {
  using T = typename Precision::Element;
  auto* ring = dynamic_shared<Stage<T>>();
  const int across = (g.window() + kWindow - 1) / kWindow;
  const int filter = blockIdx.x / across * kFilters, element = blockIdx.x % across * kWindow;
  const int first = blockIdx.y * pixels_a_split, last = min(first + pixels_a_split, g.pixels());
  const int stages = (last - first + Stage<T>::kPixels - 1) / Stage<T>::kPixels;
  const WeightFetcher<T, kWhole> fetch{g, dy, x, filter, element, last};
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < stages) fetch(ring[i], first + i * Stage<T>::kPixels);
    ptx::cp_async_commit();
  }
  float sums[kHigh][kWide][4] = {};
  for (int i = 0; i < stages; ++i) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // stage i has come for everybody, and everybody is done with stage i - 1
    const int next = i + kStages - 1;
    if (next < stages) fetch(ring[next % kStages], first + next * Stage<T>::kPixels);
    ptx::cp_async_commit();
    multiply<Precision>(sums, ring[i % kStages]);
  }
  store_sums(partials + int64_t{blockIdx.y} * g.filters * g.window(), sums, g, filter, element);
}

constexpr int kManyBlocks = 256, kFewestPixels = 512;  // blocks to aim at; shorter splits do not pay

template <typename Precision>
void weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  using T = typename Precision::Element;
  constexpr int kLength = kChunk / sizeof(T);
  const int tiles = (g.filters + kFilters - 1) / kFilters * ((g.window() + kWindow - 1) / kWindow);
  const int wanted = std::clamp(kManyBlocks / tiles, 1, std::max(1, g.pixels() / kFewestPixels));
  const int each = (g.pixels() + wanted - 1) / wanted, splits = (g.pixels() + each - 1) / each;
  const int64_t count = int64_t{g.filters} * g.window();
  const Tensor partials({splits, count}, Dtype::f32, dy.device());
  const bool whole = g.c % kLength == 0 && g.filters % kLength == 0;
  launch(whole ? conv2d_weight_mma_kernel<Precision, true> : conv2d_weight_mma_kernel<Precision, false>,
         dim3(tiles, splits), kThreads, kStages * sizeof(Stage<T>), mutable_data<float>(partials), data<T>(dy),
         data<T>(x), g, each);
  add_partials(GradientElement{mutable_data<float>(dweight.to), dweight.add}, data<float>(partials), splits, count);
}

}  // namespace

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g, bool tf32) {
  if (dy.dtype() == Dtype::bf16) return weight_gradient<Bf16>(dweight, dy, x, g);
  check(dy.dtype() == Dtype::f32, "conv2d: computes in f32 and bf16 on cuda, got {}", name_of(dy.dtype()));
  tf32 ? weight_gradient<Tf32>(dweight, dy, x, g) : weight_gradient<F32>(dweight, dy, x, g);
}

}  // namespace stipple::cuda::mma
