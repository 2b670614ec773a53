#include "kernels/cuda/attention/flash_backward.h"

// The first kernel of flash attention's backward pass (flash_backward.cu): queries stay, keys and values go by.

namespace stipple::cuda::flash {
namespace {

// A lane's part of dy y of a row of a head: every kLanes-th chunk.
template <int kLanes, int kWidth, typename T>
__device__ float part_of_delta(const T* dy, const T* y, int width) {
  constexpr int kLength = kChunkLength<T>;
  float sum = 0;
#pragma unroll 4
  for (int c = threadIdx.x % kLanes * kLength; c < kWidth; c += kLanes * kLength)
    if (c < width) {
      const uint4 chunks[2] = {load_vector<uint4>(dy + c), load_vector<uint4>(y + c)};
      T values[2][kLength];
      std::memcpy(values, chunks, sizeof values);
#pragma unroll
      for (int j = 0; j < kLength; ++j) sum += static_cast<float>(values[0][j]) * static_cast<float>(values[1][j]);
    }
  return sum;
}

// The sum of dy y of each of the rows that stay, made by two or four lanes a row, so that they ask for whole sectors;
// heads of one token lie side by side in memory.
template <typename Blocking, typename T>
__device__ void estimate_delta(float* to, const Place<Blocking>& place, const T* dy, const T* y) {
  constexpr int kLanes = Blocking::kPaired ? 4 : 2, kPasses = Blocking::kStaying * kLanes / Blocking::kThreads;
  constexpr int kHeads = Blocking::kHeads, kWidth = Blocking::Rows::kWidth / kHeads;
  const auto rows = place.query_rows(dy), of_y = place.query_rows(y);
  float sums[kPasses] = {};
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const int i = (pass * Blocking::kThreads + threadIdx.x) / kLanes, width = place.problem.width;
    const int token = place.first + i / kHeads, column = i % kHeads * width;
    if (token < rows.tokens && column < rows.width)
      sums[pass] = part_of_delta<kLanes, kWidth>(rows.row(token) + column, of_y.row(token) + column, width);
#pragma unroll
    for (int distance = 1; distance < kLanes; distance *= 2)
      sums[pass] += __shfl_xor_sync(0xFFFFFFFF, sums[pass], distance);
  }
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass)
    if (const int i = (pass * Blocking::kThreads + threadIdx.x) / kLanes; threadIdx.x % kLanes == 0)
      to[i % kHeads * Blocking::kTokens + i / kHeads] = sums[pass];
}

// What a lane knows of its two queries of a strip.
struct QueryRows {
  float lse[2] = {0, 0}, delta[2] = {0, 0};  // to base 2; the estimate

  __device__ void read_lse(const float* from, int first, int queries) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (const int query = first + half * 8 + fragment_row(); query < queries) lse[half] = kLog2E * from[query];
  }
  __device__ void read_delta(const float* of_rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) delta[half] = of_rows[half * 8 + fragment_row()];
  }

  template <int kWide>
  __device__ void take_delta_off(float (&dp)[kWide][4]) const {
#pragma unroll
    for (int j = 0; j < kWide; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) dp[j][i] -= delta[i / 2];
  }

  // Scores become P.
  template <int kWide>
  __device__ void to_shares(float (&scores)[kWide][4], float scale) const {
#pragma unroll
    for (int j = 0; j < kWide; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[j][i] = ptx::exp2_approximate(fmaf(scores[j][i], scale, -lse[i / 2]));
  }

  // Of all keys at once, delta is exact, and of one key alone exactly its dp. It comes off dp.
  template <int kWide>
  __device__ void find_delta(const float (&p)[kWide][4], float (&dp)[kWide][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float first = __shfl_sync(0xFFFFFFFF, dp[0][half * 2], lane() / 4 * 4);
      float sum = 0, total = 0;
#pragma unroll
      for (int j = 0; j < kWide; ++j)
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) total += p[j][i], sum += p[j][i] * (dp[j][i] - first);
      const float off = sum_of_row(sum) / sum_of_row(total);
#pragma unroll
      for (int j = 0; j < kWide; ++j)
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) dp[j][i] = dp[j][i] - first - off;
      delta[half] = first + off;
    }
  }

  // rest: sums of dS.
  __device__ void store_numbers(float* lses, float* deltas, int first, int queries, const float (&rest)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (const int query = first + half * 8 + fragment_row(); lane() % 4 == 0 && query < queries) {
        lses[query] = -lse[half];
        deltas[query] = -delta[half] - rest[half];
      }
  }
};

template <typename Blocking>
using KeyTiles = Passing<Blocking, tokens_of_tile<Blocking>(),
                         Blocking::kPaired        ? Fetching::later_turns
                         : Blocking::kStrips == 1 ? Fetching::by_turns
                                                  : Fetching::ahead>;

template <typename Blocking>
inline constexpr int kMostKept = Blocking::kStrips == 1 ? 32 : 8 * Blocking::Precision::kParts;

template <typename Blocking>
using Scores = std::conditional_t<Blocking::kPaired, SwappedProducts<Blocking, KeyTiles<Blocking>::kTokens>,
                                  ScoreProducts<Blocking, kMostKept<Blocking>>>;

// dq (null: not wanted) and numbers of queries.
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, Blocking::kFewestBlocks)
    query_gradient_kernel(typename Blocking::Rows::T* __restrict__ dq, float* __restrict__ numbers,
                          const typename Blocking::Rows::T* __restrict__ dy,
                          const typename Blocking::Rows::T* __restrict__ q,
                          const typename Blocking::Rows::T* __restrict__ k,
                          const typename Blocking::Rows::T* __restrict__ v,
                          const typename Blocking::Rows::T* __restrict__ y, const float* __restrict__ lse,
                          int64_t rows_of_all, Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  using Tiles = KeyTiles<Blocking>;
  constexpr int kTile = Tiles::kTokens, kStrips = Blocking::kStrips;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows queries{shared}, upstream{shared + Blocking::kStayingBytes};
  const Tiles tile{shared + 2 * Blocking::kStayingBytes};  // values first, keys second
  std::byte* const room = tile.at + Tiles::kBytes;
  auto* estimates = reinterpret_cast<float*>(room);  // [kStaying], before the loop
  const Place<Blocking> place(problem, tiles);
  PassingFetcher<Blocking, Tiles> fetch_keys(place.key_rows(v), place.key_rows(k));
  const ProductOfColumns<Precision, Rows> multiply_columns;
  fetch_staying<Blocking>(queries, place.query_rows(q), place.first);
  fetch_staying<Blocking>(upstream, place.query_rows(dy), place.first);
  ptx::cp_async_commit();
  fetch_stage_0(tile, fetch_keys);
  const bool all_keys = problem.keys <= kTile;
  if (!all_keys) estimate_delta(estimates, place, dy, y);
  QueryRows rows[kStrips];
  const int64_t row_of_head = place.warp_queries();
  const int queries_of_head = row_of_head < 0 ? 0 : problem.queries;  // such a head has none
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip)
    rows[strip].read_lse(lse + row_of_head, place.token_of(strip), queries_of_head);
  ptx::cp_async_wait<1>();
  __syncthreads();  // the queries have come for everybody
  const Scores<Blocking> multiply_rows(queries, upstream, room);
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip)
    if (!all_keys) rows[strip].read_delta(estimates + Blocking::row(strip));
  const float scale = problem.scale * kLog2E;
  float sums[kStrips][Blocking::kColumns / 8][4] = {}, rest[kStrips][4] = {};
  float scores[kStrips][kTile / 8][4], dp[kStrips][kTile / 8][4];
  const auto take_delta_off = [&] {
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) rows[strip].take_delta_off(dp[strip]);
  };
  const auto multiply_values = [&](int i) {
    set_to_zero(scores), set_to_zero(dp);
    if (kStartsAtDelta<Blocking>) take_delta_off();
    if constexpr (!Blocking::kPaired) multiply_rows.add_dp(dp, tile.first(i));
  };
  const auto multiply_keys = [&](int i) {
    if constexpr (Blocking::kPaired)
      multiply_rows(scores, dp, tile.second(i), tile.first(i));
    else
      multiply_rows.add_scores(scores, tile.second(i));
    if (!kStartsAtDelta<Blocking>) take_delta_off();
    hide_missing(scores, problem.keys - i * kTile);
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) rows[strip].to_shares(scores[strip], scale);
    if (all_keys)
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) rows[strip].find_delta(scores[strip], dp[strip]);
    multiply(dp, scores);
  };
  const auto add_keys = [&](int i) {
    multiply_columns(sums, dp, tile.second(i).from_column(Blocking::column()), rest);
  };
  for_stages(tile, fetch_keys, (problem.keys + kTile - 1) / kTile, multiply_values, multiply_keys, add_keys);
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip)
    if (!Blocking::is_second())
      rows[strip].store_numbers(
          numbers + row_of_head, numbers + rows_of_all + row_of_head, place.token_of(strip), queries_of_head,
          {multiply_columns.total_of_row(rest[strip], 0), multiply_columns.total_of_row(rest[strip], 1)});
  if (!dq) return;
  __syncwarp();  // rows are read by the warps that write them now, of a pair before they swapped
  put_sums<Blocking>(queries, sums, problem.scale);
  __syncthreads();
  store_staying<Blocking>(place.query_rows(dq), queries, place.first);
}

}  // namespace

void query_gradient(const Tensor& dq, const Tensor& numbers, const Tensor& dy, const Tensor& q, const Tensor& k,
                    const Tensor& v, const AttentionOut& out, const AttentionExtents& e, bool tf32) {
  for_blocking(q.dtype(), tf32, e, [&]<typename Whole>() {
    using Blocking = std::conditional_t<(Whole::kRowBytes > 512), typename Whole::Paired, Whole>;
    using T = typename Blocking::Rows::T;
    using Tiles = KeyTiles<Blocking>;
    constexpr size_t kRoom = std::max<size_t>(Scores<Blocking>::kRoomBytes, Blocking::kStaying * 4);
    launch(query_gradient_kernel<Blocking>, dim3(blocks_of<Blocking>(e.queries, e)), Blocking::kThreads,
           2 * Blocking::kStayingBytes + Tiles::kBytes + kRoom, mutable_data<T>(dq), mutable_data<float>(numbers),
           data<T>(dy), data<T>(q), data<T>(k), data<T>(v), data<T>(out.y), data<float>(out.lse), e.rows(), Problem(e),
           tiles_of<Blocking>(e.queries));
  });
}

}  // namespace stipple::cuda::flash
