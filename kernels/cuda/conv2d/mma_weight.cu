#include <algorithm>
#include <cstring>

#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/conv2d/stage_fetcher.h"
#include "kernels/cuda/conv2d/summed_weight.h"
#include "kernels/cuda/conv2d/whole_chunks.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/launch.h"

// conv2d, rung mma: the weight gradient, filters x window, summed over pixels.
//
// Idea    a block computes 64 or 128 filters x 128 elements of the window, in bf16 128 x 256. Pixels go by in stages of
//         32 (bf16) or 16 (f32), fetched by cp.async two or three stages ahead. Both operands lie in memory with pixels
//         apart and their own elements side by side, and so they lie in shared memory; ldmatrix transposes bf16 on the
//         way to the tensor cores, and f32 is read by four elements of a pixel. Rows are 16 bytes longer than the tile:
//         eight rows of bf16, or two chunks of four rows of f32, then lie in different banks. Pixels are split over
//         blocks whatever the shape, for filters x window alone are too few tiles: partial sums in f32 meet in a fixed
//         order. A thread fetches the same channels of the same tap in every stage. Where windows of pixels begin, and
//         which taps lie inside the picture, is found once for all of them: a pixel a thread, stages ahead, in shared
//         memory.
// Costs   the window is fetched once for every 64 or 128 filters, dy once for every 128 or 256 elements of the window;
//         partial sums are written and read once. Reading windows asks shared memory for 5 to 10 % more, which the
//         model, blind to integer instructions, takes for time: whether it pays, a GPU has to say.
// Measured on an H200, with tiles of 128 x 128: 278 TFLOP/s in bf16 (64x32x32x128, k 128), 4.3 TB/s from L2. As it
//         stands here it has not been timed.
// Counted at 128 filters, tensor cores are .44 of the main loop's instructions in bf16, .23 in tf32; at 64 .25 and .17,
//         and in f32 .21 (`./run machine-code`, sm_80).
// Tried   atomic adds instead of partial sums: other bits in every run. Pixels found by every thread for itself, in
//         each stage: by division, 16 tensor-core instructions among 752 of the main loop; by multiplications, 64 among
//         230 (now 147). Places in x as a pixel times its channels, 64 bits wide: six instructions; in chunks, one. f32
//         read element by element: .12 and .21. tf32 rounded in the tile: 24 instructions less, but shared memory,
//         which this kernel waits for, would be asked for half as much again.

namespace stipple::cuda::mma {
namespace {

constexpr int kWarpsAcross = 4, kWarpsDown = 2;

// Pixels of a tile of kFilters x kWindow, of which a warp keeps kHigh fragments of 16 by kWide of 8.
template <typename Element, int kFilterCount, int kWindowCount>
struct Stage {
  using T = Element;
  static constexpr int kFilters = kFilterCount, kWindow = kWindowCount;
  static constexpr int kHigh = kFilters / kWarpsDown / 16, kWide = kWindow / kWarpsAcross / 8;
  static constexpr int kPixels = 64 / sizeof(T), kPad = kChunk / sizeof(T);
  static constexpr int kStages = kWindow > 128 ? 3 : 4;  // that go round: 99 KB are the most of small GPUs
  T dy[kPixels][kFilters + kPad];
  T x[kPixels][kWindow + kPad];

  // Where a warp's part begins.
  __device__ static int warp_filter() { return threadIdx.x / 32 / kWarpsAcross * (kFilters / kWarpsDown); }
  __device__ static int warp_element() { return threadIdx.x / 32 % kWarpsAcross * (kWindow / kWarpsAcross); }
};

// The windows of the next stages' pixels in shared memory: each is found once, by one thread, for all taps and
// channels.
template <int kPixelsOfStage, int kChunkLength>
class PixelWindows {
 public:
  static constexpr int kStages = kThreads / kPixelsOfStage;  // whose windows are found at once
  static constexpr int kCount = 2 * kThreads;                // while those before are read

  struct alignas(8) One {
    int chunk;      // of x, where it begins
    uint32_t taps;  // that lie inside the picture, a bit each; none where there is no pixel
  };
  static constexpr size_t kBytes = kCount * sizeof(One);

  // Pixels of y are numbered from the split's first on.
  __device__ PixelWindows(std::byte* at, const Correlation& geometry, int first, int last)
      : g(geometry), windows_(reinterpret_cast<One*>(at)), first_(first), last_(last) {}

  __device__ void find(int from) const {
    const int i = from + threadIdx.x;
    const Window window(g, first_ + i);
    store_vector(windows_ + i % kCount,
                 One{window.first_pixel(g) * (g.c / kChunkLength), first_ + i < last_ ? window.taps_inside(g) : 0});
  }
  __device__ One operator[](int i) const { return load_vector<One>(windows_ + i); }  // i less than kCount

 private:
  const Correlation& g;
  One* windows_;
  int first_, last_;
};

// Fetches a thread's share of every stage, by asynchronous copies of whole chunks, of the same filters and the same
// channels of the same tap in each: channels and filters come in chunks.
template <typename Stage>
class WeightFetcher {
  using T = typename Stage::T;
  static constexpr int kLength = kChunk / sizeof(T);

 public:
  using Windows = PixelWindows<Stage::kPixels, kLength>;

  __device__ WeightFetcher(const Correlation& geometry, const Windows& windows, const T* dy, const T* x, int filter,
                           int element, int first_pixel, int last_pixel)
      : g(geometry),
        windows_(windows),
        dy_(dy + int64_t{first_pixel + dy_row()} * g.filters + filter + dy_column()),
        dy_left_(filter + dy_column() < g.filters ? last_pixel - first_pixel - dy_row() : 0),
        pixel_(x_row()) {
    const int e = element + x_column(), tap = e / g.c;
    tap_ = e < g.window() ? 1u << tap : 0;
    x_ = ptx::kept(x + (tap / g.s * g.w + tap % g.s) * g.c + e % g.c);
  }

  // Starts the copies of the next stage.
  __device__ void operator()(Stage& stage) {
    const T* dy = dy_;
#pragma unroll
    for (int i = 0; i < kPixels; i += kDyApart, dy = ptx::kept(dy + int64_t{kDyApart} * g.filters))
      ptx::cp_async<kChunk>(&stage.dy[i][0] + dy_place_, dy, i < dy_left_ ? kChunk : 0);
#pragma unroll
    for (int i = 0; i < kPixels; i += kXApart) {
      const auto window = windows_[pixel_ + i];
      ptx::cp_async<kChunk>(&stage.x[i][0] + x_place_, x_ + int64_t{window.chunk} * kLength,
                            window.taps & tap_ ? kChunk : 0);
    }
    dy_ += int64_t{kPixels} * g.filters, dy_left_ -= kPixels;
    pixel_ = (pixel_ + kPixels) % Windows::kCount;
  }

 private:
  static constexpr int kPixels = Stage::kPixels, kPad = Stage::kPad;
  static constexpr int kDyAcross = Stage::kFilters / kLength, kXAcross = Stage::kWindow / kLength;
  static constexpr int kDyApart = kThreads / kDyAcross, kXApart = kThreads / kXAcross;  // rows
  __device__ static int dy_row() { return threadIdx.x / kDyAcross; }
  __device__ static int dy_column() { return threadIdx.x % kDyAcross * kLength; }
  __device__ static int x_row() { return threadIdx.x / kXAcross; }
  __device__ static int x_column() { return threadIdx.x % kXAcross * kLength; }

  const Correlation& g;
  const Windows& windows_;
  const T *dy_, *x_;  // x_: where the chunk of a window would be that begins with x
  int dy_left_;       // pixels; none where there is no such filter
  unsigned pixel_;    // among the windows
  uint32_t tap_;      // its bit; 0 where there is no such element
  int dy_place_ = ptx::kept(dy_row() * (Stage::kFilters + kPad) + dy_column());
  int x_place_ = ptx::kept(x_row() * (Stage::kWindow + kPad) + x_column());
};

// Reads the operands of one step, 32 bytes of pixels, at `pixel` of a stage: bf16 as ldmatrix transposes it. Of f32, a
// lane reads a chunk of a pixel at once: of 32 neighbours, four elements for four groups of eight rows or columns.
// Chunk g / 2 + g % 2 * 4 goes to lane group g, so that eight lanes meet no bank twice, and what a row of sums stores
// at once lies side by side.
template <typename Stage>
class StageReader {
  using T = typename Stage::T;
  static constexpr bool kFours = std::is_same_v<T, float>;
  static constexpr int kHigh = Stage::kHigh, kWide = Stage::kWide;
  static constexpr int kDyRow = Stage::kFilters + Stage::kPad, kXRow = Stage::kWindow + Stage::kPad;  // elements
  static_assert(!kFours || kWide == 4);

 public:
  __device__ void filters(uint32_t (&to)[kHigh][4], const Stage& stage, int pixel) const {
    const T* from = &stage.dy[pixel][0] + filter_;
    if constexpr (kFours) {
#pragma unroll
      for (int i = 0; i < kHigh; ++i) {
        const auto four = load_vector<uint4>(from + i % 2 * 4 * kDyRow + i / 2 * 32);
        const int first = i / 2 * 2, half = i % 2 * 2;
        to[first][half] = four.x, to[first][half + 1] = four.y;
        to[first + 1][half] = four.z, to[first + 1][half + 1] = four.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kHigh; ++i) ptx::ldmatrix_x4_trans(to[i], from + i * 16);
    }
  }
  __device__ void window(uint32_t (&to)[kWide][2], const Stage& stage, int pixel) const {
    const T* from = &stage.x[pixel][0] + element_;
    if constexpr (kFours) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const auto four = load_vector<uint4>(from + i * 4 * kXRow);
        to[0][i] = four.x, to[1][i] = four.y, to[2][i] = four.z, to[3][i] = four.w;
      }
    } else {
#pragma unroll
      for (int j = 0; j < kWide; j += 2) {
        uint32_t raw[4];
        ptx::ldmatrix_x4_trans(raw, from + j * 8);
        to[j][0] = raw[0], to[j][1] = raw[1], to[j + 1][0] = raw[2], to[j + 1][1] = raw[3];
      }
    }
  }

  // Which filter of the block and which element of its window a lane's sums are: the first of kSideBySide.
  static constexpr int kSideBySide = kFours ? 4 : 2;
  __device__ static int filter(int i, int half) {
    return Stage::warp_filter() +
           (kFours ? i / 2 * 32 + own_chunk() * 4 + i % 2 * 2 + half : i * 16 + half * 8 + fragment_row());
  }
  __device__ static int element(int run) {
    return Stage::warp_element() + (kFours ? (lane() % 4 + run * 4) * 4 : run * 8 + fragment_column());
  }
  __device__ static float sum(const float (&row)[kWide][4], int half, int run, int i) {
    return kFours ? row[i][half * 2 + run] : row[run][half * 2 + i];
  }

 private:
  __device__ static int own_chunk() { return fragment_row() / 2 + fragment_row() % 2 * 4; }
  // Where a lane's first element lies: pixels in rows.
  __device__ static int first_filter() {
    const int row = kFours ? lane() % 4 : lane() % 8 + lane() / 16 * 8;
    return row * kDyRow + Stage::warp_filter() + (kFours ? own_chunk() * 4 : lane() / 8 % 2 * 8);
  }
  __device__ static int first_element() {
    const int row = kFours ? lane() % 4 : lane() % 16;
    return row * kXRow + Stage::warp_element() + (kFours ? own_chunk() * 4 : lane() / 16 * 8);
  }

  int filter_ = ptx::kept(first_filter()), element_ = ptx::kept(first_element());
};

template <typename Precision, typename Stage, int kHigh, int kWide>
__device__ void multiply(float (&sums)[kHigh][kWide][4], const StageReader<Stage>& read, const Stage& stage) {
  constexpr int kStep = 32 / sizeof(typename Stage::T);
  [[maybe_unused]] constexpr int kUnrolled =
      Precision::kParts > 1 ? 1 : 2;  // else fragments of both steps fill the registers
#pragma unroll kUnrolled
  for (int pixel = 0; pixel < 2 * kStep; pixel += kStep) {
    uint32_t filters[kHigh][4], window[kWide][2];
    read.filters(filters, stage, pixel);
    read.window(window, stage, pixel);
    uint32_t right[kWide][Precision::kParts][2];
#pragma unroll
    for (int j = 0; j < kWide; ++j) split<Precision>(right[j], window[j]);
#pragma unroll
    for (int i = 0; i < kHigh; ++i) {
      uint32_t left[Precision::kParts][4];
      split<Precision>(left, filters[i]);
#pragma unroll
      for (int j = 0; j < kWide; ++j) multiply_of_many<Precision>(sums[i][j], left, right[j]);
    }
  }
}

// Sums side by side, as many of them as are left.
template <int kCount>
__device__ void store_run(float* to, const float (&sums)[kCount], int left, bool whole) {
  using Vector = std::conditional_t<kCount == 4, float4, float2>;
  Vector all;
  std::memcpy(&all, sums, sizeof all);
  if (whole && left >= kCount) return store_vector(to, all);
  for (int i = 0; i < kCount && i < left; ++i) to[i] = sums[i];
}

template <typename Stage, int kHigh, int kWide>
__device__ void store_sums(float* to, const float (&sums)[kHigh][kWide][4], const Correlation& g, int filter,
                           int element) {
  using Lane = StageReader<Stage>;
  constexpr int kCount = Lane::kSideBySide;
#pragma unroll
  for (int i = 0; i < kHigh; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int run = 0; run < 2 * kWide / kCount; ++run) {
        const int k = filter + Lane::filter(i, half), e = element + Lane::element(run);
        float some[kCount];
        for (int each = 0; each < kCount; ++each) some[each] = Lane::sum(sums[i], half, run, each);
        store_run(to + int64_t{k} * g.window() + e, some, k < g.filters ? g.window() - e : 0, g.window() % kCount == 0);
      }
}

// Block (tile, split).
template <typename Precision, int kFilters, int kWindow>
__global__ void __launch_bounds__(kThreads, kFilters* kWindow > 128 * 128 ? 1 : 2)
    conv2d_weight_mma_kernel(float* __restrict__ partials, const typename Precision::Element* __restrict__ dy,
                             const typename Precision::Element* __restrict__ x, Correlation g, int pixels_a_split) {
  using Ring = Stage<typename Precision::Element, kFilters, kWindow>;
  using Fetcher = WeightFetcher<Ring>;
  using Windows = typename Fetcher::Windows;
  Ring* ring = dynamic_shared<Ring>();
  const int across = (g.window() + kWindow - 1) / kWindow;
  const int filter = blockIdx.x / across * kFilters, element = blockIdx.x % across * kWindow;
  const int first = blockIdx.y * pixels_a_split, last = min(first + pixels_a_split, g.pixels());
  const unsigned stages = (last - first + Ring::kPixels - 1) / Ring::kPixels;
  static_assert(Windows::kStages >= Ring::kStages - 1);  // found as early as they are fetched
  const Windows windows(reinterpret_cast<std::byte*>(ring + Ring::kStages), g, first, last);
  Fetcher fetch(g, windows, dy, x, filter, element, first, last);
  windows.find(0);
  __syncthreads();
  for (int i = 0; i < Ring::kStages - 1; ++i) {
    fetch(ring[i]);
    ptx::cp_async_commit();
  }
  const StageReader<Ring> read;
  float sums[Ring::kHigh][Ring::kWide][4] = {};
  for (unsigned i = 0; i < stages;) {
    windows.find((i + Windows::kStages) * Ring::kPixels);
    do {
      ptx::cp_async_wait<Ring::kStages - 2>();
      __syncthreads();  // stage i has come for everybody, and everybody is done with stage i - 1
      fetch(ring[(i + Ring::kStages - 1) % Ring::kStages]);
      ptx::cp_async_commit();
      multiply<Precision>(sums, read, ring[i % Ring::kStages]);
    } while (++i < stages && i % Windows::kStages != 0);
  }
  store_sums<Ring>(partials + int64_t{blockIdx.y} * g.filters * g.window(), sums, g, filter, element);
}

constexpr int kManyBlocks = 256, kFewestPixels = 512;  // blocks to aim at; shorter splits do not pay
constexpr int kFewBlocks = 64;                         // leave more than half of the multiprocessors idle

// The gradient of a weight without the channels and filters that dy and x were widened by.
struct NarrowerGradient {
  GradientElement to;
  int filters, taps, c, wider;

  __device__ void operator()(int64_t i, float sum) const {
    const int64_t row = i / wider, channel = i % wider;  // row: filter and tap
    if (channel < c && row < int64_t{filters} * taps) to(row * c + channel, sum);
  }
};

// How filters x window are cut into tiles, and pixels into splits of `each`.
struct WeightTiles {
  int tiles, splits, each;

  WeightTiles(const Correlation& g, int filters, int window)
      : tiles((g.filters + filters - 1) / filters * ((g.window() + window - 1) / window)) {
    const int wanted = std::clamp(kManyBlocks / tiles, 1, std::max(1, g.pixels() / kFewestPixels));
    each = (g.pixels() + wanted - 1) / wanted;
    splits = (g.pixels() + each - 1) / each;
  }
  int blocks() const { return tiles * splits; }
};

// g is of dy and x as they are here, perhaps widened.
template <typename Precision, int kFilters, int kWindow>
void weight_gradient_tiles(const NarrowerGradient& to, const Tensor& dy, const Tensor& x, const Correlation& g) {
  using T = typename Precision::Element;
  using Ring = Stage<T, kFilters, kWindow>;
  const WeightTiles cut(g, kFilters, kWindow);
  const int64_t count = int64_t{g.filters} * g.window();
  const Tensor partials({cut.splits, count}, Dtype::f32, dy.device());
  launch(conv2d_weight_mma_kernel<Precision, kFilters, kWindow>, dim3(cut.tiles, cut.splits), kThreads,
         Ring::kStages * sizeof(Ring) + WeightFetcher<Ring>::Windows::kBytes, mutable_data<float>(partials),
         data<T>(dy), data<T>(x), g, cut.each);
  if (g.c == to.c && g.filters == to.filters) return add_partials(to.to, data<float>(partials), cut.splits, count);
  add_partials(to, data<float>(partials), cut.splits, count);
}

template <typename Precision>
void weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  const Tensor wide_dy = in_whole_chunks(dy), wide_x = in_whole_chunks(x);
  Correlation wider = in_whole_chunks(g, x.dtype());
  wider.filters = static_cast<int>(wide_dy.dim(-1));
  const NarrowerGradient to{{mutable_data<float>(dweight.to), dweight.add}, g.filters, g.r * g.s, g.c, wider.c};
  if constexpr (Precision::kParts == 1) {  // two parts of 128 filters do not fit the registers
    constexpr int kWindow = sizeof(typename Precision::Element) == 2 ? 256 : 128;
    const bool any = rung("CONV2D_TILES", {"widest", "fitting"}) == "widest";
    if (g.filters > 64 && (any || WeightTiles(wider, 128, kWindow).blocks() >= kFewBlocks))
      return weight_gradient_tiles<Precision, 128, kWindow>(to, wide_dy, wide_x, wider);
  }
  weight_gradient_tiles<Precision, 64, 128>(to, wide_dy, wide_x, wider);
}

void upsampled_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g,
                               bool tf32) {
  const Correlation half = halving(g);
  const Tensor dsums({half.filters, half.r, half.s, half.c}, Dtype::f32, dy.device());
  conv2d_weight_gradient({dsums}, x, dy, half, tf32);
  spread_weight_gradient(dweight, dsums);
}

}  // namespace

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g, bool tf32) {
  if (g.scale == 2) return upsampled_weight_gradient(dweight, dy, x, g, tf32);
  if (dy.dtype() == Dtype::bf16) return weight_gradient<Bf16>(dweight, dy, x, g);
  check(dy.dtype() == Dtype::f32, "conv2d: computes in f32 and bf16 on cuda, got {}", name_of(dy.dtype()));
  tf32 ? weight_gradient<Tf32>(dweight, dy, x, g) : weight_gradient<F32>(dweight, dy, x, g);
}

}  // namespace stipple::cuda::mma
