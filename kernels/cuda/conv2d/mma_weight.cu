#include <algorithm>

#include "kernels/cuda/conv2d/divisor.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/tensor_core.h"

// conv2d, rung mma: the weight gradient, filters x window, summed over pixels.
//
// Idea    a block computes 64 or 128 filters x 128 elements of the window. Pixels go by in stages of 32 (bf16) or 16 (f32),
//         fetched by cp.async three stages ahead. Both operands lie in memory with pixels apart and their own elements
//         side by side, and so they lie in shared memory; ldmatrix transposes bf16 on the way to the tensor cores, and
//         f32 is read element by element. Rows are 8 elements longer than the tile: eight rows of bf16, or four of f32,
//         then lie in different banks.
//         Pixels are split over blocks whatever the shape, for filters x window alone are too few tiles: partial sums
//         in f32 meet in a fixed order.
//         A thread fetches the same channels of the same tap in every stage; which pixels these are is found by
//         multiplications (divisor.h).
// Costs   the window is fetched once for every 64 or 128 filters, dy once for every 128 elements of the window; partial sums
//         are written and read once.
// Tried   atomic adds instead of partial sums: other bits in every run. Pixels found by division, 16 tensor-core
//         instructions among 752 of the main loop.

namespace stipple::cuda::mma {
namespace {

constexpr int kWindow = 128, kStages = 4, kPad = 8, kChunk = 16;
constexpr int kWide = 4;                    // fragments of 8 elements a warp keeps,
constexpr int kWarpsAcross = kWindow / 32;  // of as many warps, and two warps down

template <typename T, int kFilters>
struct Stage {
  static constexpr int kPixels = 64 / sizeof(T);
  T dy[kPixels][kFilters + kPad];
  T x[kPixels][kWindow + kPad];
};

template <int kFilters>
__device__ int warp_filter() {
  return threadIdx.x / 32 / kWarpsAcross * (kFilters / 2);
}
__device__ int warp_element() { return threadIdx.x / 32 % kWarpsAcross * 32; }

// The tap and channel of an element of the window.
struct Element {
  int r, s, c;
  __device__ Element(const Correlation& g, int e) : r(e / g.c / g.s), s(e / g.c % g.s), c(e % g.c) {}
};

struct WeightGeometry {
  Correlation g;
  Divisor map, columns;  // pixels of y in an image, in a row

  explicit WeightGeometry(const Correlation& correlation)
      : g(correlation), map(g.rows * g.columns), columns(g.columns) {}

  // The number of the pixel of x which that tap of a pixel of y meets, or -1.
  __device__ int pixel_of_x(int pixel, const Element& at) const {
    const int image = map.quotient(pixel), inside = map.remainder(pixel, image);
    const int row = columns.quotient(inside), column = columns.remainder(inside, row);
    const int h = row * g.stride + at.r - g.top, w = column * g.stride + at.s - g.left;
    const bool exists =
        static_cast<unsigned>(h) < static_cast<unsigned>(g.h) && static_cast<unsigned>(w) < static_cast<unsigned>(g.w);
    return exists ? (image * g.h + h) * g.w + w : -1;
  }
};

// Fetches a thread's share of every stage, by asynchronous copies of whole chunks: channels and filters come in those.
template <typename T, int kFilters>
class WeightChunkFetcher {
 public:
  static constexpr int kLength = kChunk / sizeof(T);
  static bool takes(const Correlation& g) { return g.c % kLength == 0 && g.filters % kLength == 0; }

  __device__ WeightChunkFetcher(const WeightGeometry& geometry, const T* dy, const T* x, int filter, int element,
                                int first_pixel, int last_pixel)
      : of_(geometry),
        dy_(dy),
        x_(x),
        filter_(filter + dy_column()),
        element_(element + x_column()),
        pixel_(first_pixel),
        last_(last_pixel),
        at_(geometry.g, element_) {}

  // Starts the copies of the next stage.
  __device__ void operator()(Stage<T, kFilters>& stage) {
#pragma unroll
    for (int row = threadIdx.x / kDyAcross; row < kPixels; row += kThreads / kDyAcross) {
      const bool exists = pixel_ + row < last_ && filter_ < of_.g.filters;
      ptx::cp_async<kChunk>(&stage.dy[row][dy_column()],
                            exists ? dy_ + int64_t{pixel_ + row} * of_.g.filters + filter_ : dy_, exists ? kChunk : 0);
    }
#pragma unroll
    for (int row = threadIdx.x / kXAcross; row < kPixels; row += kThreads / kXAcross) {
      const int pixel = of_.pixel_of_x(pixel_ + row, at_);
      const bool exists = pixel >= 0 && pixel_ + row < last_ && element_ < of_.g.window();
      ptx::cp_async<kChunk>(&stage.x[row][x_column()], exists ? x_ + int64_t{pixel} * of_.g.c + at_.c : x_,
                            exists ? kChunk : 0);
    }
    pixel_ += kPixels;
  }

 private:
  static constexpr int kPixels = Stage<T, kFilters>::kPixels;
  static constexpr int kDyAcross = kFilters / kLength, kXAcross = kWindow / kLength;
  __device__ static int dy_column() { return threadIdx.x % kDyAcross * kLength; }
  __device__ static int x_column() { return threadIdx.x % kXAcross * kLength; }

  const WeightGeometry& of_;
  const T *dy_, *x_;
  int filter_, element_, pixel_, last_;
  Element at_;
};

// Likewise for any shape, element by element.
template <typename T, int kFilters>
class WeightElementFetcher {
 public:
  __device__ WeightElementFetcher(const WeightGeometry& geometry, const T* dy, const T* x, int filter, int element,
                                  int first_pixel, int last_pixel)
      : of_(geometry), dy_(dy), x_(x), filter_(filter), element_(element), pixel_(first_pixel), last_(last_pixel) {}

  __device__ void operator()(Stage<T, kFilters>& stage) {
    constexpr int kPixels = Stage<T, kFilters>::kPixels;
#pragma unroll 1
    for (int i = threadIdx.x; i < kPixels * kFilters; i += kThreads)
      stage.dy[i / kFilters][i % kFilters] = upstream(pixel_ + i / kFilters, filter_ + i % kFilters);
#pragma unroll 1
    for (int i = threadIdx.x; i < kPixels * kWindow; i += kThreads)
      stage.x[i / kWindow][i % kWindow] = window(pixel_ + i / kWindow, element_ + i % kWindow);
    pixel_ += kPixels;
  }

 private:
  __device__ T upstream(int pixel, int k) const {
    return pixel < last_ && k < of_.g.filters ? dy_[int64_t{pixel} * of_.g.filters + k] : T(0.f);
  }
  __device__ T window(int pixel, int e) const {
    if (pixel >= last_ || e >= of_.g.window()) return T(0.f);
    const Element at(of_.g, e);
    const int of_x = of_.pixel_of_x(pixel, at);
    return of_x < 0 ? T(0.f) : x_[int64_t{of_x} * of_.g.c + at.c];
  }

  const WeightGeometry& of_;
  const T *dy_, *x_;
  int filter_, element_, pixel_, last_;
};

// Operands of one step, 32 bytes of pixels, at `pixel` of the stage. First where lanes stand in transposed matrices.
template <int kFilters>
__device__ void read_filters(uint32_t (&to)[4], const Stage<__nv_bfloat16, kFilters>& stage, int pixel, int filter) {
  ptx::ldmatrix_x4_trans(to, &stage.dy[pixel + lane() % 8 + lane() / 16 * 8][filter + lane() / 8 % 2 * 8]);
}
template <int kFilters>
__device__ void read_window(uint32_t (&to)[2][2], const Stage<__nv_bfloat16, kFilters>& stage, int pixel, int element) {
  uint32_t raw[4];
  ptx::ldmatrix_x4_trans(raw, &stage.x[pixel + lane() % 16][element + lane() / 16 * 8]);
  to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
}
template <int kFilters>
__device__ void read_filters(uint32_t (&to)[4], const Stage<float, kFilters>& stage, int pixel, int filter) {
  for (int i = 0; i < 4; ++i)
    to[i] = __float_as_uint(stage.dy[pixel + lane() % 4 + i / 2 * 4][filter + fragment_row() + i % 2 * 8]);
}
template <int kFilters>
__device__ void read_window(uint32_t (&to)[2][2], const Stage<float, kFilters>& stage, int pixel, int element) {
  for (int j = 0; j < 2; ++j)
    for (int i = 0; i < 2; ++i)
      to[j][i] = __float_as_uint(stage.x[pixel + lane() % 4 + i * 4][element + j * 8 + fragment_row()]);
}

template <typename Precision, int kFilters, int kHigh>
__device__ void multiply(float (&sums)[kHigh][kWide][4], const Stage<typename Precision::Element, kFilters>& stage) {
  constexpr int kStep = 32 / sizeof(typename Precision::Element);
#pragma unroll
  for (int pixel = 0; pixel < 2 * kStep; pixel += kStep) {
    uint32_t left[kHigh][Precision::kParts][4], right[kWide][Precision::kParts][2];
#pragma unroll
    for (int i = 0; i < kHigh; ++i) {
      uint32_t raw[4];
      read_filters(raw, stage, pixel, warp_filter<kFilters>() + i * 16);
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

template <int kFilters, int kHigh>
__device__ void store_sums(float* to, const float (&sums)[kHigh][kWide][4], const Correlation& g, int filter,
                           int element) {
  for (int i = 0; i < kHigh; ++i)
    for (int j = 0; j < kWide; ++j)
      for (int half = 0; half < 2; ++half) {
        const int k = filter + warp_filter<kFilters>() + i * 16 + half * 8 + fragment_row();
        const int e = element + warp_element() + j * 8 + fragment_column();
        float* at = to + int64_t{k} * g.window() + e;
        if (k < g.filters && e + 1 < g.window() && g.window() % 2 == 0)
          store_pair(at, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
        else if (k < g.filters)
          for (int c = 0; c < 2 && e + c < g.window(); ++c) at[c] = sums[i][j][half * 2 + c];
      }
}

// Block (tile, split).
template <typename Precision, int kFilters, bool kWhole>
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_weight_mma_kernel(float* __restrict__ partials, const typename Precision::Element* __restrict__ dy,
                             const typename Precision::Element* __restrict__ x, WeightGeometry of, int pixels_a_split) {
  using T = typename Precision::Element;
  using Ring = Stage<T, kFilters>;
  using Fetcher = std::conditional_t<kWhole, WeightChunkFetcher<T, kFilters>, WeightElementFetcher<T, kFilters>>;
  Ring* ring = dynamic_shared<Ring>();
  const int across = (of.g.window() + kWindow - 1) / kWindow;
  const int filter = blockIdx.x / across * kFilters, element = blockIdx.x % across * kWindow;
  const int first = blockIdx.y * pixels_a_split, last = min(first + pixels_a_split, of.g.pixels());
  const int stages = (last - first + Ring::kPixels - 1) / Ring::kPixels;
  Fetcher fetch(of, dy, x, filter, element, first, last);
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < stages) fetch(ring[i]);
    ptx::cp_async_commit();
  }
  float sums[kFilters / 32][kWide][4] = {};
  for (int i = 0; i < stages; ++i) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // stage i has come for everybody, and everybody is done with stage i - 1
    const int next = i + kStages - 1;
    if (next < stages) fetch(ring[next % kStages]);
    ptx::cp_async_commit();
    multiply<Precision, kFilters>(sums, ring[i % kStages]);
  }
  store_sums<kFilters>(partials + int64_t{blockIdx.y} * of.g.filters * of.g.window(), sums, of.g, filter, element);
}

constexpr int kManyBlocks = 256, kFewestPixels = 512;  // blocks to aim at; shorter splits do not pay

template <typename Precision, int kFilters, bool kWhole>
void weight_gradient_tiles(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  using T = typename Precision::Element;
  const int tiles = (g.filters + kFilters - 1) / kFilters * ((g.window() + kWindow - 1) / kWindow);
  const int wanted = std::clamp(kManyBlocks / tiles, 1, std::max(1, g.pixels() / kFewestPixels));
  const int each = (g.pixels() + wanted - 1) / wanted, splits = (g.pixels() + each - 1) / each;
  const int64_t count = int64_t{g.filters} * g.window();
  const Tensor partials({splits, count}, Dtype::f32, dy.device());
  launch(conv2d_weight_mma_kernel<Precision, kFilters, kWhole>, dim3(tiles, splits), kThreads,
         kStages * sizeof(Stage<T, kFilters>), mutable_data<float>(partials), data<T>(dy), data<T>(x),
         WeightGeometry(g), each);
  add_partials(GradientElement{mutable_data<float>(dweight.to), dweight.add}, data<float>(partials), splits, count);
}

template <typename Precision>
void weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  if (!WeightChunkFetcher<typename Precision::Element, 64>::takes(g))
    return weight_gradient_tiles<Precision, 64, false>(dweight, dy, x, g);
  if (g.filters > 64) return weight_gradient_tiles<Precision, 128, true>(dweight, dy, x, g);
  weight_gradient_tiles<Precision, 64, true>(dweight, dy, x, g);
}

}  // namespace

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g, bool tf32) {
  if (dy.dtype() == Dtype::bf16) return weight_gradient<Bf16>(dweight, dy, x, g);
  check(dy.dtype() == Dtype::f32, "conv2d: computes in f32 and bf16 on cuda, got {}", name_of(dy.dtype()));
  tf32 ? weight_gradient<Tf32>(dweight, dy, x, g) : weight_gradient<F32>(dweight, dy, x, g);
}

}  // namespace stipple::cuda::mma
