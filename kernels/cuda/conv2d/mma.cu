#include <algorithm>

#include "kernels/cuda/conv2d/epilogue.h"
#include "kernels/cuda/conv2d/pixel_fetcher.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/conv2d/stage_fetcher.h"
#include "kernels/cuda/conv2d/summed_weight.h"
#include "kernels/cuda/conv2d/tile_moments.h"
#include "kernels/cuda/conv2d/tile_of_sums.h"
#include "kernels/cuda/conv2d/turned_weight.h"
#include "kernels/cuda/conv2d/whole_chunks.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/vector_access.h"
#include "kernels/launch.h"

// conv2d, rung mma: an implicit matrix product on tensor cores (sm_80 and up), for forward and input gradient.
//
// Idea    a block computes a tile of pixels x filters (tile_shape.h), 256 x 128, 64 or 32 where pixels are many and
//         numbers are not taken apart. Depth,
//         which is the window, goes by in stages of 64 bytes a row, tap after tap of some channels; cp.async fetches
//         three stages ahead of the one that is multiplied (stage_fetcher.h). A warp keeps up to 64 x 64 sums in
//         registers: 32 products for 8 ldmatrix. They begin with the bias and leave through shared memory, in f32 (what
//         is added to them is rounded once) and in whole 16 bytes of y. The input gradient is the same product over
//         turned weights (turned_weight.h); with stride 2, one product for each parity of (h, w), of 1, 2, 2 and 4
//         taps. Upsampled maps are never made: each parity of y's pixels is a correlation of the small map with sums of
//         taps (summed_weight.h), 4 x 4 products a small pixel where the large map takes 4 x 9, in all three
//         directions. 1x1 filters read two inputs as one (pixel_fetcher.h); larger filters concatenate them first.
//         Where a group norm follows, a block leaves the moments of its part of y (tile_moments.h), from shared memory.
//         Maps of few tiles split depth over blocks; partial sums meet in a fixed order.
// Costs   filters are fetched once a tile, x r * s times, of which L1 should bear all but one; turned weights are
//         written and read once a call.
// Measured on an H200, with tiles of 128 x 128 and channels before taps: 265 TFLOP/s in bf16 (64x32x32x128, k 128), 4.2
//         TB/s from L2 (bench/results/gpu-h200-2026-11-26.md). As it stands here it has not been timed.
// Counted in the widest tiles, tensor cores are .49 of the main loop's instructions in bf16 and .33 in tf32; for 64
//         filters .45, .31 and in f32 .24, for 32 .32, .22, .20; with 1x1 filters .52 and .34 (`./run machine-code`,
//         sm_80).
// Tried   weights of the input gradient read as they lie, with transposing ldmatrix: tf32 has none. Pointers that move
//         on with every stage, and that stay at x where nothing is copied. Warps of half as many sums: of tiles of 128
//         x 128, .37 and .24; of 128 x 64, .26 and .17; of 128 x 32, .15 and .10. Element by element for channels that
//         are no chunks: .02 to .15. tf32's pixels cut off by the tensor cores, and sums made larger for it
//         (tensor_core.h): .39 in the widest tiles, but 16 ones no longer sum to 16. f32 in tiles of 128 filters, its
//         steps summed apart: 36 bytes of spilled registers.

namespace stipple::cuda::mma {
namespace {

constexpr int kStages = 4;

// sums += stages' products, each in two steps of 32 bytes of depth.
template <typename Tile>
class Multiplier {
  using Precision = typename Tile::Precision;

 public:
  __device__ Multiplier()
      : left_(ptx::kept(chunk_offset(Tile::row() + lane() % 16, lane() / 16))),
        right_(ptx::kept(chunk_offset(Tile::column() + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2))) {}

  __device__ void operator()(float (&sums)[Tile::kHigh][Tile::kWide][4], const std::byte* a, const std::byte* b) const {
    [[maybe_unused]] constexpr int kUnrolled =
        Precision::kParts > 1 ? 1 : kChunks / 2;  // else fragments of both steps fill the registers
#pragma unroll kUnrolled
    for (int step = 0; step < kChunks / 2; ++step) {
      uint32_t left[Tile::kHigh][Precision::kParts][4], right[Tile::kWide][Precision::kParts][2];
#pragma unroll
      for (int i = 0; i < Tile::kHigh; ++i) {
        uint32_t raw[4];
        ptx::ldmatrix_x4(raw, a + (left_ ^ step * 2 * kChunk) + i * 16 * kRowBytes);
        split<Precision>(left[i], raw);
      }
#pragma unroll
      for (int j = 0; j < Tile::kWide; j += 2) {
        uint32_t raw[4];
        ptx::ldmatrix_x4(raw, b + (right_ ^ step * 2 * kChunk) + j * 8 * kRowBytes);
        const uint32_t even[2] = {raw[0], raw[1]}, odd[2] = {raw[2], raw[3]};
        split<Precision>(right[j], even);
        split<Precision>(right[j + 1], odd);
      }
#pragma unroll
      for (int i = 0; i < Tile::kHigh; ++i)
#pragma unroll
        for (int j = 0; j < Tile::kWide; ++j) multiply_of_many<Precision>(sums[i][j], left[i], right[j]);
    }
  }

 private:
  int left_, right_;  // where this lane's first rows lie in a tile; two chunks on is a bit turned
};

// Sums begin with what all pixels of a filter get: a lane reads the few it has once, in whole sectors.
template <typename Tile, int kHigh, int kWide>
__device__ void begin_with_bias(float (&sums)[kHigh][kWide][4], const float* bias, int left) {
#pragma unroll
  for (int j = 0; j < kWide; ++j)
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int filter = Tile::column() + j * 8 + fragment_column() + k;
      const float first = filter < left ? bias[filter] : 0;
#pragma unroll
      for (int i = 0; i < kHigh; ++i) sums[i][j][k] = sums[i][j][2 + k] = first;
    }
}

constexpr int kSumsRows = 128;  // of a tile that leave by way of shared memory at once

template <typename Tile, int kHigh, int kWide>
__device__ void stage_sums(const TileOfSums<Tile::kColumns>& tile, const float (&sums)[kHigh][kWide][4]) {
#pragma unroll
  for (int i = 0; i < kHigh; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = Tile::row() % kSumsRows + i * 16 + half * 8 + fragment_row(),
                column = Tile::column() + fragment_column();
#pragma unroll
      for (int j = 0; j < kWide; ++j)
        store_pair(tile.at(row, column + j * 8), sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
    }
}

template <int kCount, int kColumns>
__device__ void load_sums(float (&to)[kCount], const TileOfSums<kColumns>& tile, int row, int column) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const auto four = load_vector<float4>(tile.at(row, column + i));
    to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
  }
}

template <int kCount, int kColumns>
__device__ void put_back(const TileOfSums<kColumns>& tile, int row, int column, const float (&from)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4)
    store_vector(tile.at(row, column + i), float4{from[i], from[i + 1], from[i + 2], from[i + 3]});
}

// From shared memory to y, 16 bytes a thread where filters come in whole chunks; what y has then got goes back where
// moments are taken of it.
template <typename Tile, typename Out>
__device__ void store_results(Out* y, const Placement& at, const Correlation& g, const Epilogue<Out>& epilogue,
                              const TileOfSums<Tile::kColumns>& tile, int row, int column, bool back) {
  constexpr int kLength = kChunk / sizeof(Out), kAcross = Tile::kColumns / kLength;
  const int c = threadIdx.x % kAcross * kLength, filter = column + c, left = g.filters - filter;
  if (left <= 0) return;
  for (int r = threadIdx.x / kAcross; r < kSumsRows && row + r < g.pixels(); r += Tile::kThreads / kAcross) {
    const int64_t offset = at(g, row + r) + filter;
    Out* to = y + offset;
    if (g.filters % kLength == 0) {
      float values[kLength];
      load_sums(values, tile, r, c);
      epilogue(g, row + r, filter, offset, values);
      const auto raw = packed<Out>(values);
      store_vector(to, raw);
      if (back) unpack<Out>(values, raw), put_back(tile, r, c, values);
    } else {
      for (int j = 0; j < kLength && j < left; ++j) {
        float& sum = *tile.at(r, c + j);
        sum = static_cast<float>(to[j] = epilogue(g, row + r, filter + j, offset + j, sum));
      }
    }
  }
}

template <typename Tile>
constexpr int kStageBytes = (Tile::kRows + Tile::kColumns) * kRowBytes;

template <typename Tile>
constexpr size_t shared_bytes() {
  const size_t stages = kStages * kStageBytes<Tile>;
  const size_t sums = kSumsRows * TileOfSums<Tile::kColumns>::kPitch * sizeof(float);
  return stages > sums ? stages : sums;
}

// How stages are fetched.
enum class Fetch { chunks, pixels };

template <typename Tile, Fetch kFetch>
using FetcherOf = std::conditional_t<kFetch == Fetch::pixels, PixelFetcher<Tile>, ChunkFetcher<Tile>>;

// Block (tile, split): y of split i lies i * split_stride elements after the first's.
template <typename Tile, typename Out, Fetch kFetch>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv2d_mma_kernel(Out* __restrict__ y, Placement at, int64_t split_stride, Joined<const typename Tile::T> x,
                      const typename Tile::T* __restrict__ weight, Epilogue<Out> epilogue, MomentsOut moments,
                      Correlation g, int stages_a_split) {
  using Fetcher = FetcherOf<Tile, kFetch>;
  std::byte* shared = dynamic_shared<std::byte>();
  const int across = (g.filters + Tile::kColumns - 1) / Tile::kColumns;
  const int row = blockIdx.x / across * Tile::kRows, column = blockIdx.x % across * Tile::kColumns;
  const int first = blockIdx.y * stages_a_split, stages = min(stages_a_split, Fetcher::stages(g) - first);
  Fetcher fetch(g, x, weight, row, column, first);
  const Multiplier<Tile> multiply;
  const auto stage = [&](int i) { return shared + i % kStages * kStageBytes<Tile>; };
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < stages) fetch(stage(i), stage(i) + Tile::kRows * kRowBytes);
    ptx::cp_async_commit();
  }
  float sums[Tile::kHigh][Tile::kWide][4] = {};
  if (epilogue.bias) begin_with_bias<Tile>(sums, epilogue.bias + column, g.filters - column);
  for (int i = 0; i < stages; ++i) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // stage i has come for everybody, and everybody is done with stage i - 1
    const int next = i + kStages - 1;
    if (next < stages) fetch(stage(next), stage(next) + Tile::kRows * kRowBytes);
    ptx::cp_async_commit();
    multiply(sums, stage(i), stage(i) + Tile::kRows * kRowBytes);
  }
  const TileOfSums<Tile::kColumns> tile{reinterpret_cast<float*>(shared)};
  epilogue.bias = nullptr;  // the sums have it
#pragma unroll 1
  for (int part = 0; part < Tile::kRows; part += kSumsRows) {
    __syncthreads();
    if (Tile::row() / kSumsRows * kSumsRows == part) stage_sums<Tile>(tile, sums);
    __syncthreads();
    store_results<Tile>(y + blockIdx.y * split_stride, at, g, epilogue, tile, row + part, column, moments.to);
    if (!moments.to) continue;
    __syncthreads();
    moments.take<kSumsRows>(g, tile, row + part, column);
  }
}

// Fewer blocks leave multiprocessors idle; shorter splits do not pay.
template <typename Tile>
constexpr int kFewBlocks = Tile::kBlocks == 1 ? 128 : 256;
constexpr int kFewestStages = 8;

template <typename Tile>
int tiles_of(const Correlation& g) {
  return (g.pixels() + Tile::kRows - 1) / Tile::kRows * ((g.filters + Tile::kColumns - 1) / Tile::kColumns);
}

// How depth is split over blocks.
struct Split {
  int count, stages;  // splits, stages of each

  Split(int tiles, int few, int all) {
    const int wanted = std::clamp(few / tiles, 1, std::max(1, all / kFewestStages));
    stages = std::max(1, (all + wanted - 1) / wanted);
    count = std::max(1, (all + stages - 1) / stages);
  }
};

// Where the sum of a pixel's and filter's partial results goes.
template <typename T>
struct OutputElement {
  T* y;
  Placement at;
  Correlation g;
  Epilogue<T> epilogue;

  __device__ void operator()(int64_t i, float sum) const {
    const int pixel = static_cast<int>(i / g.filters), filter = static_cast<int>(i % g.filters);
    const int64_t offset = at(g, pixel) + filter;
    y[offset] = epilogue(g, pixel, filter, offset, sum);
  }
};

template <typename Tile, Fetch kFetch>
void correlate_tiles(Conv2dOut& out, const Placement& at, const Concat<Tensor>& x, const Tensor& weight,
                     const Conv2dEpilogue<Tensor>& e, const Correlation& g) {
  using T = typename Tile::T;
  const int tiles = tiles_of<Tile>(g);
  const Split split(tiles, kFewBlocks<Tile>, FetcherOf<Tile, kFetch>::stages(g));
  const auto start = [&]<typename Out>(Out* to, const Placement& place, const Epilogue<Out>& epilogue,
                                       int64_t split_stride) {
    launch(conv2d_mma_kernel<Tile, Out, kFetch>, dim3(tiles, split.count), Tile::kThreads, shared_bytes<Tile>(), to,
           place, split_stride, joined<T>(x), data<T>(weight), epilogue, MomentsOut{mutable_data<float>(out.moments)},
           g, split.stages);
  };
  const Tensor& y = out.y;
  if (e.moments && split.count == 1)
    out.moments = Tensor({g.images, Pieces{g.rows * g.columns}.of_image(), 2, g.filters}, Dtype::f32, y.device());
  if (split.count == 1) return start(mutable_data<T>(y), at, Epilogue<T>(e), 0);
  const int64_t outputs = int64_t{g.pixels()} * g.filters;
  const Tensor partials({split.count, outputs}, Dtype::f32, y.device());
  start(mutable_data<float>(partials), Placement::dense(g), Epilogue<float>(), outputs);
  add_partials(OutputElement<T>{mutable_data<T>(y), at, g, Epilogue<T>(e)}, data<float>(partials), split.count,
               outputs);
}

// Whether tiles of this shape, with their depth split, leave few multiprocessors idle.
template <typename Tile, Fetch kFetch>
bool are_enough(const Correlation& g) {
  return tiles_of<Tile>(g) * std::max(1, FetcherOf<Tile, kFetch>::stages(g) / kFewestStages) >= kFewBlocks<Tile>;
}

template <typename Precision, Fetch kFetch>
void correlate_filters(Conv2dOut& out, const Placement& at, const Concat<Tensor>& x, const Tensor& weight,
                       const Conv2dEpilogue<Tensor>& e, const Correlation& g) {
  // For tests: small maps, which an emulator has done soon, in the tiles of large ones.
  const bool any = rung("CONV2D_TILES", {"widest", "fitting"}) == "widest";
  const auto in_tiles = [&]<typename Large, typename Small>() {
    if constexpr (Precision::kParts == 1)  // two parts of as many sums do not fit the registers
      if (any || are_enough<Large, kFetch>(g)) return correlate_tiles<Large, kFetch>(out, at, x, weight, e, g);
    correlate_tiles<Small, kFetch>(out, at, x, weight, e, g);
  };
  using Most = std::conditional_t<kFetch == Fetch::pixels, Wide<Precision>, Widest<Precision>>;
  if (g.filters > 64) return in_tiles.template operator()<Most, Narrow<Precision>>();
  if (g.filters > 32) return in_tiles.template operator()<Tall<Precision>, Narrow<Precision>>();
  in_tiles.template operator()<Tallest<Precision>, Narrowest<Precision>>();
}

template <typename Precision>
void correlate(Conv2dOut& out, const Placement& at, const Concat<Tensor>& x, const Tensor& weight,
               const Conv2dEpilogue<Tensor>& e, const Correlation& g) {
  if (g.pixels() == 0 || g.filters == 0) return;
  if (PixelFetcher<Narrow<Precision>>::takes(g, x))
    return correlate_filters<Precision, Fetch::pixels>(out, at, x, weight, e, g);
  if (x.b.defined()) return correlate<Precision>(out, at, kernels::concat_channels(x), weight, e, g);
  correlate_filters<Precision, Fetch::chunks>(out, at, {in_whole_chunks(x.a)}, in_whole_chunks(weight), e,
                                              in_whole_chunks(g, x.a.dtype()));
}

void correlate(Conv2dOut& out, const Placement& at, const Concat<Tensor>& x, const Tensor& weight,
               const Conv2dEpilogue<Tensor>& e, const Correlation& g, bool tf32) {
  const Tensor& y = out.y;
  if (y.dtype() == Dtype::bf16) return correlate<Bf16>(out, at, x, weight, e, g);
  check(y.dtype() == Dtype::f32, "conv2d: computes in f32 and bf16 on cuda, got {}", name_of(y.dtype()));
  tf32 ? correlate<Tf32>(out, at, x, weight, e, g) : correlate<F32>(out, at, x, weight, e, g);
}

// The input gradient of convolution g, whose weight is turned_for(h, w) for one parity of its pixels.
template <typename Turned>
void correlate_phases(const Tensor& dx, const Tensor& dy, const Conv2dEpilogue<Tensor>& e, const Correlation& g,
                      bool tf32, const Turned& turned_for) {
  Conv2dOut out{dx, {}};
  for (int i = 0; i < g.stride; ++i)
    for (int j = 0; j < g.stride; ++j) {
      const Phase h(i, g.stride, g.r, g.top, g.h), w(j, g.stride, g.s, g.left, g.w);
      const Tensor turned = turned_for(h, w);
      Correlation part(dy.shape(), turned.shape(), {g.images, h.outputs, w.outputs, g.c}, {});
      part.top = h.padding(), part.left = w.padding();
      const Placement at{(int64_t{h.first} * g.w + w.first) * g.c, int64_t{g.h} * g.w * g.c,
                         int64_t{g.stride} * g.w * g.c, int64_t{g.stride} * g.c};
      correlate(out, at, dy, turned, e, part, tf32);
    }
}

// The sums that one parity of y's pixels reads, of a filter with that many taps along an axis.
SummedTaps sums_of(const Phase& phase, int taps) {
  return {taps - phase.phase - phase.stride * (phase.taps - 1), phase.stride, phase.taps};
}

void upsampled_conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
                      const Correlation& g, bool tf32) {
  Conv2dEpilogue<Tensor> added = e;
  added.moments = false;  // a parity's pixels lie apart
  correlate_phases(y, x, added, halving(g), tf32, [&](const Phase& h, const Phase& w) {
    return summed_weight(weight, sums_of(h, g.r), sums_of(w, g.s));
  });
}

void upsampled_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g, bool tf32) {
  const Correlation half = halving(g);
  const Tensor sums = summed_weight(weight, {0, 1, half.r}, {0, 1, half.s});
  const Tensor turned = turned_weight(sums, Phase(0, 1, half.r, 0, 1), Phase(0, 1, half.s, 0, 1));
  Conv2dOut out{dx, {}};
  correlate(out, Placement::dense(half), dy, turned, {}, half, tf32);
}

}  // namespace

bool takes(const Correlation& g) { return (g.r + g.scale - 1) * (g.s + g.scale - 1) <= kMostTaps; }

void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
            const Correlation& g, bool tf32) {
  if (g.scale == 2) return upsampled_conv2d(out.y, kernels::concat_channels(x), weight, e, g, tf32);
  correlate(out, Placement::dense(g), x, weight, e, g, tf32);
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g, bool tf32) {
  if (g.scale == 2) return upsampled_input_gradient(dx, dy, weight, g, tf32);
  correlate_phases(dx, dy, {}, g, tf32, [&](const Phase& h, const Phase& w) { return turned_weight(weight, h, w); });
}

}  // namespace stipple::cuda::mma
