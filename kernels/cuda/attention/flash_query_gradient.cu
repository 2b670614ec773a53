#include "kernels/cuda/attention/flash_backward.h"

// The first kernel of flash attention's backward pass (flash_backward.cu): queries stay, keys and values go by.

namespace stipple::cuda::flash {
namespace {

// The sum of dy y of each of the rows that stay, made by two or four lanes a row; heads of one token lie side by side
// in memory.
template <typename Blocking, typename T>
__device__ void estimate_delta(float* to, const Place<Blocking>& place, const T* dy, const T* y) {
  constexpr int kLanes = Blocking::kThreads / Blocking::kStaying, kLength = kChunkLength<T>, kHeads = Blocking::kHeads;
  const auto rows = place.query_rows(dy), of_y = place.query_rows(y);
  const int i = threadIdx.x / kLanes, head = i % kHeads, token = i / kHeads, width = place.problem.width;
  const bool exists = place.first + token < rows.tokens && head * width < rows.width;
  float sum = 0;
#pragma unroll 4
  for (int c = threadIdx.x % kLanes * kLength; c < Blocking::Rows::kWidth / kHeads; c += kLanes * kLength)
    if (exists && c < width) {
      const int at = head * width + c;
      const uint4 chunks[2] = {load_vector<uint4>(rows.row(place.first + token) + at),
                               load_vector<uint4>(of_y.row(place.first + token) + at)};
      T values[2][kLength];
      std::memcpy(values, chunks, sizeof values);
#pragma unroll
      for (int j = 0; j < kLength; ++j) sum += static_cast<float>(values[0][j]) * static_cast<float>(values[1][j]);
    }
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) sum += __shfl_xor_sync(0xFFFFFFFF, sum, distance);
  if (threadIdx.x % kLanes == 0) to[head * Blocking::kTokens + token] = sum;
}

// What a lane knows of its two queries.
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

  // Scores become P, and dp becomes dS.
  template <int kWide>
  __device__ void operator()(float (&scores)[kWide][4], float (&dp)[kWide][4], float scale, bool all_keys) {
#pragma unroll
    for (int j = 0; j < kWide; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[j][i] = ptx::exp2_approximate(fmaf(scores[j][i], scale, -lse[i / 2]));
        dp[j][i] -= delta[i / 2];
      }
    if (all_keys) find_delta(scores, dp);
#pragma unroll
    for (int j = 0; j < kWide; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) dp[j][i] *= scores[j][i];
  }

  // Of all keys at once, delta is exact, and of one key alone exactly its dp. It comes off dp.
  template <int kWide>
  __device__ void find_delta(const float (&p)[kWide][4], float (&dp)[kWide][4]) {
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
  __device__ void store_numbers(QueryNumbers* to, int first, int queries, const float (&rest)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first + half * 8 + fragment_row();
      if (lane() % 4 == 0 && query < queries) store_vector(to + query, float2{-lse[half], -delta[half] - rest[half]});
    }
  }
};

// dq (null: not wanted) and numbers of queries.
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, Blocking::kHeads == 1 && Blocking::kRowBytes <= 64 ? 3 : 2)
    query_gradient_kernel(typename Blocking::Rows::T* __restrict__ dq, QueryNumbers* __restrict__ numbers,
                          const typename Blocking::Rows::T* __restrict__ dy,
                          const typename Blocking::Rows::T* __restrict__ q,
                          const typename Blocking::Rows::T* __restrict__ k,
                          const typename Blocking::Rows::T* __restrict__ v,
                          const typename Blocking::Rows::T* __restrict__ y, const float* __restrict__ lse,
                          Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  constexpr int kTile = Moving<Blocking>::kTokens, kStages = Moving<Blocking>::kStages;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows queries{shared}, upstream{shared + Blocking::kStayingBytes};
  const Moving<Blocking> tile{shared + 2 * Blocking::kStayingBytes};  // keys first, values second
  std::byte* const room = tile.at + Moving<Blocking>::kBytes;
  auto* estimates = reinterpret_cast<float*>(room + Products<Blocking>::kRoomBytes);  // [kStaying]
  const Place<Blocking> place(problem, tiles);
  PassingFetcher<Blocking, Moving<Blocking>> fetch_keys(place.key_rows(k), place.key_rows(v));
  const ProductOfColumns<Precision, Rows> multiply_columns;
  const auto fetch = [&](int i) {
    fetch_keys(tile, i);
    ptx::cp_async_commit();
  };
  fetch_staying<Blocking>(queries, place.query_rows(q), place.first);
  fetch_staying<Blocking>(upstream, place.query_rows(dy), place.first);
  ptx::cp_async_commit();
  if (kStages > 1) fetch(0);
  const bool all_keys = problem.keys <= kTile;
  if (!all_keys) estimate_delta(estimates, place, dy, y);
  QueryRows rows;
  const int64_t row_of_head = place.warp_queries();
  const int queries_of_head = row_of_head < 0 ? 0 : problem.queries;  // such a head has none
  rows.read_lse(lse + row_of_head, place.warp_token(), queries_of_head);
  await_staying<kStages>();
  const Products<Blocking> multiply_rows(queries, upstream, room);
  if (!all_keys) rows.read_delta(estimates + Blocking::row());
  const float scale = problem.scale * kLog2E;
  float sums[Blocking::kColumns / 8][4] = {}, rest[4] = {};
  const auto receive = [&](int i) { fetch_keys.round(tile, i); };
  for_stages<kStages>((problem.keys + kTile - 1) / kTile, fetch, receive, [&](int i) {
    typename Products<Blocking>::Sums scores, dp;
    multiply_rows(scores, dp, tile.first(i), tile.second(i));
    hide_missing(scores, problem.keys - i * kTile);
    rows(scores, dp, scale, all_keys);
    multiply_columns(sums, dp, tile.first(i).from_column(Blocking::column()), rest);
  });
  if (!Blocking::is_second())
    rows.store_numbers(numbers + row_of_head, place.warp_token(), queries_of_head,
                       {multiply_columns.total_of_row(rest, 0), multiply_columns.total_of_row(rest, 1)});
  if (!dq) return;
  __syncwarp();  // rows are read by the warps that write them now, of a pair before they swapped
  put_sums<Precision>(queries.from_column(Blocking::column()), Blocking::row(), sums, {problem.scale, problem.scale});
  __syncthreads();
  store_staying<Blocking>(place.query_rows(dq), queries, place.first);
}

}  // namespace

void query_gradient(const Tensor& dq, const Tensor& numbers, const Tensor& dy, const Tensor& q, const Tensor& k,
                    const Tensor& v, const AttentionOut& out, const AttentionExtents& e, bool tf32) {
  for_blocking(q.dtype(), tf32, e, [&]<typename Whole>() {
    using Blocking = std::conditional_t<(Whole::kRowBytes > 512), typename Whole::Paired, Whole>;
    using T = typename Blocking::Rows::T;
    constexpr size_t kBytes = 2 * Blocking::kStayingBytes + Moving<Blocking>::kBytes + Products<Blocking>::kRoomBytes +
                              Blocking::kStaying * sizeof(float);
    launch(query_gradient_kernel<Blocking>, dim3(blocks_of<Blocking>(e.queries, e)), Blocking::kThreads, kBytes,
           mutable_data<T>(dq), reinterpret_cast<QueryNumbers*>(mutable_data<float>(numbers)), data<T>(dy), data<T>(q),
           data<T>(k), data<T>(v), data<T>(out.y), data<float>(out.lse), Problem(e), tiles_of<Blocking>(e.queries));
  });
}

}  // namespace stipple::cuda::flash
