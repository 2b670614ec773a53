#include "kernels/cuda/attention/flash.h"

// attention, rung flash: forward, on tensor cores (sm_80 and up), with no P in memory. Dao 2023, arXiv:2307.08691.
//
// Idea    a block keeps 64 queries of a head, 32 a warp up to 64 channels (f32: 32), else 16, and lets the keys and
//         values go by in tiles: cp.async fetches the next while this one is multiplied. Scores never leave the
//         registers: as they come out of one product they are an operand of the next. A warp's rows are its own, so
//         their largest score and their sum need only four lanes. Results leave through shared memory, in whole 16
//         bytes.
//         Heads of 8 in bf16, half a sector of memory each, go two to a row of shared memory and to a block.
//         A lane's places in tiles are worked out before the loop over keys, and a thread's in memory where they are
//         few (tile.h).
//         Queries that are at most 32 registers stay there, and only the last tile's keys are asked whether they exist.
//         What was summed before is rescaled only where a score has come that is 2^8 times the largest so far: a share
//         may be as large in f32, and after the first tile this is rare (as in FlashAttention 4).
//         tf32 is rounded where tiles lie, once for all warps, by the thread that has copied it.
// Costs   keys and values are fetched once for every 64 queries; heads are padded to 8 (bf16: 16), 32, 64, 128 or 256
//         channels in shared memory.
// Counted 100 % of ideal sectors and wavefronts, 2.5x compulsory traffic at 256 tokens (`stipple profile`). Eight warps
//         a multiprocessor by registers, without spills; six by an A100's shared memory in tf32 at 64 channels, four
//         for rows of 1024 bytes. Of the
//         main loop's instructions at 64, 128 and 256 channels, tensor cores have .22, .29, .33 in bf16 and .24, .25,
//         .26 in tf32 (`./run machine-code`; without the rescaling, which is rare: with it .20, .26, .25 and .22, .22,
//         .20).
// Tried   16 queries a warp up to 64 channels, too: .20 for .22 at 64. f32's products with values added to what all
//         tiles before have left: tensor cores cut off, and y is 1e-5 off at 784 keys, 4e-5 at 4096. One head of 8 a
//         block in bf16: half of every sector for nothing, 4.8x compulsory traffic. No count of blocks
//         in the launch bounds: ptxas aims at four and spills. Places worked out where they are needed: .07 instead of
//         .18; even those worked out before, the compiler works out again unless told not to (ptx::kept), and so it
//         does with a stage's offset: 14 to 50 additions a tile for sm_90a. Sums rescaled for every tile: 64 of 639
//         instructions. tf32 rounded in registers, all of it: .17. Rows of 1024 bytes in two warps and two stages: .19,
//         and half a multiprocessor's tensor cores idle. Queries and keys left for the tensor cores to cut off, and a
//         scale that makes up for it: more yet, but of numbers that are tf32 already nothing is cut off, and dq and dk
//         were 1.3e-3 off where rounding makes 3e-4.

namespace stipple::cuda::flash {
namespace {

constexpr int keys_of_tile(int row_bytes) { return row_bytes <= 256 ? 64 : row_bytes <= 512 ? 32 : 16; }

constexpr int kMostKept = 32;  // registers for queries

// Two stages of long rows would not fit the shared memory of small GPUs, or few blocks an A100's.
template <typename Blocking>
using Keys = Passing<Blocking, keys_of_tile(Blocking::kRowBytes),
                     Blocking::kRowBytes * Blocking::kStrips >= 512 ? Fetching::by_turns : Fetching::ahead>;

constexpr float kMostGrowth = 8;  // of scores, to base 2, before sums are rescaled

// Of the two queries whose scores a lane has a part of; scores to base 2, after scaling.
struct Softmax {
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};  // no score so far is above largest + kMostGrowth

  // Scores become 2^(score - largest), of which `total` is the sum. True where a larger score has changed `largest` in
  // a row of the warp: then factor is what came before is to be multiplied with. `largest` is rounded once, and all
  // that is made of it takes the same number: it cancels.
  template <int kWide>
  __device__ bool operator()(float (&scores)[kWide][4], float (&factor)[2], float scale) {
    bool grown = false;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float now = scores[0][row * 2];
#pragma unroll
      for (int j = 0; j < kWide; ++j) now = fmaxf(now, fmaxf(scores[j][row * 2], scores[j][row * 2 + 1]));
      now = largest_of_row(now) * scale;
      const bool grows = now > largest[row] + kMostGrowth;
      now = grows ? now : largest[row];
      factor[row] = ptx::exp2_approximate(largest[row] - now);
      grown |= grows;
      largest[row] = now;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kWide; ++j)
#pragma unroll
        for (int i = row * 2; i < row * 2 + 2; ++i)
          sum += scores[j][i] = ptx::exp2_approximate(fmaf(scores[j][i], scale, -now));
      total[row] = total[row] * factor[row] + sum;
    }
    return __any_sync(0xFFFFFFFF, grown);
  }
};

template <bool kOfTransposed, int kWide>
__device__ void multiply(float (&sums)[kWide][4], const RowFactors<kOfTransposed>& factors) {
#pragma unroll
  for (int j = 0; j < kWide; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[j][i] *= factors.of(j, i);
}

template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, Blocking::kFewestBlocks)
    attention_kernel(typename Blocking::Rows::T* __restrict__ y, float* __restrict__ lse,
                     const typename Blocking::Rows::T* __restrict__ q, const typename Blocking::Rows::T* __restrict__ k,
                     const typename Blocking::Rows::T* __restrict__ v, Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  constexpr int kTile = Keys<Blocking>::kTokens, kStrips = Blocking::kStrips;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows queries{shared};
  const Keys<Blocking> tile{shared + Blocking::kStayingBytes};  // keys first, values second
  const Place<Blocking> place(problem, tiles);
  PassingFetcher<Blocking, Keys<Blocking>> fetch_keys(place.key_rows(k), place.key_rows(v));
  const ProductOfRows<Precision, Rows> multiply_rows;
  const ProductOfColumns<Precision, Rows> multiply_columns;
  fetch_staying<Blocking>(queries, place.query_rows(q), place.first);
  ptx::cp_async_commit();
  fetch_stage_0(tile, fetch_keys);
  ptx::cp_async_wait<1>();
  __syncthreads();  // the queries have come for everybody
  LeftRows<Precision, Rows, kStrips, kMostKept> left(queries, Blocking::row());
  left.keep();
  const float scale = problem.scale * kLog2E;
  Softmax softmax[kStrips];
  float sums[kStrips][Rows::kWidth / 8][4] = {}, scores[kStrips][kTile / 8][4];
  const auto weigh_keys = [&](int i) {
    set_to_zero(scores);
    multiply_rows(scores, left, tile.first(i));
    hide_missing(scores, problem.keys - i * kTile);
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
      float factor[2];
      const bool grown = softmax[strip](scores[strip], factor, scale);
      if (grown) multiply(sums[strip], RowFactors<kTransposed<Rows>>(factor));
    }
  };
  const auto add_values = [&](int i) { multiply_columns(sums, scores, tile.second(i)); };
  for_stages(tile, fetch_keys, (problem.keys + kTile - 1) / kTile, weigh_keys, add_values, [](int) {});
  __syncwarp();  // a warp reads and writes its own queries only
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = sum_of_row(softmax[strip].total[half]);
      const int query = place.token_of(strip) + half * 8 + fragment_row();
      inverse[half] = 1 / total;
      if (lane() % 4 == 0 && query < problem.queries && place.warp_queries() >= 0)
        lse[place.warp_queries() + query] = softmax[strip].largest[half] * kLn2 + logf(total);
    }
    put_sums<Precision>(queries, Blocking::row(strip), sums[strip], inverse);
  }
  __syncthreads();
  store_staying<Blocking>(place.query_rows(y), queries, place.first);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents& e,
               bool tf32) {
  for_blocking(q.dtype(), tf32, e, [&]<typename Blocking>() {
    using T = typename Blocking::Rows::T;
    launch(attention_kernel<Blocking>, dim3(blocks_of<Blocking>(e.queries, e)), Blocking::kThreads,
           Blocking::kStayingBytes + Keys<Blocking>::kBytes, mutable_data<T>(out.y), mutable_data<float>(out.lse),
           data<T>(q), data<T>(k), data<T>(v), Problem(e), tiles_of<Blocking>(e.queries));
  });
}

}  // namespace stipple::cuda::flash
