#include "kernels/cuda/attention/flash.h"

// attention, rung flash: backward, on tensor cores, with no P in memory. Dao 2023, arXiv:2307.08691.
//
// Idea    two kernels, so that every sum is one warp's and comes in order. The first keeps queries and lets keys and
//         values go by: dq. The second keeps keys and values and lets queries and dy go by, with scores transposed: dk
//         and dv. Both make P again from q, k and lse; P and dS stay in registers, as left operands of products.
//         delta is dy y at first, and dq is made with it, while the first kernel sums dS over the keys, by one more
//         product, with ones. What is left is taken back, delta += sum dS (P sums to one): the second kernel's rows of
//         dS sum to zero as exactly as f32 can, and so do the gradients of biases of keys. Where all keys are one tile,
//         dq has the better delta, too.
//         tf32 is rounded once, where tiles lie, by the thread that has copied them.
// Costs   seven products where one kernel with atomic sums would need five; for heads beyond 128, dk and dv are made in
//         two halves, each of which makes P again: nine.
// Counted 100 % of ideal sectors and wavefronts; dy is read twice by the first kernel (`stipple profile`). Two blocks a
//         multiprocessor by registers, without spills; one by an A100's shared memory from rows of 512 bytes on. Of the
//         main loops' instructions at 64 channels, tensor cores have .26 (dk, dv) and .24 (dq) in bf16, .24 in tf32.
// Tried   delta = dy y alone: where values have a mean of ten times their deviation, gradients of key biases are twelve
//         times as far from zero. dp added to -delta, which so comes off for nothing (12 of dq's 212 instructions): dP
//         then rounds otherwise in either kernel, and of a single key dk is no longer zero. P summed as well, to divide
//         what is left by: 16 instructions for its last digits. f32 rows of 128 channels and more multiplied in one
//         unrolled loop: registers spill. tf32 rounded in registers: every element seven times, .15. Not tried: delta
//         from sum P dP before dq, for it makes P and dP a third time.

namespace stipple::cuda::flash {
namespace {

constexpr int tokens_of_tile(int row_bytes) { return row_bytes <= 64 ? 64 : row_bytes <= 256 ? 32 : 16; }

// The widest rows have one stage only: with two, a block would not fit the shared memory of small GPUs.
constexpr int stages_of(int row_bytes) { return row_bytes <= 512 ? 2 : 1; }

template <typename Blocking>
using Moving = Passing<Blocking, tokens_of_tile(Blocking::kRowBytes), stages_of(Blocking::kRowBytes)>;

// Ends the copies of the rows that stay; those of the first stage are under way where there are two stages.
template <int kStages>
__device__ void await_staying() {
  ptx::cp_async_wait<kStages - 1>();
  __syncthreads();
}

// Calls step(i) for all `count` stages, when stage i has come for everybody; fetch(i) starts its copies, except, where
// there are two stages, those of stage 0; receive(i) is for the thread that made them.
template <int kStages, typename Fetch, typename Receive, typename Step>
__device__ void for_stages(int count, const Fetch& fetch, const Receive& receive, const Step& step) {
  for (int i = 0; i < count; ++i) {
    if (kStages == 1) {
      __syncthreads();  // everybody is done with the stage before
      fetch(i);
    }
    ptx::cp_async_wait<0>();
    receive(i);
    __syncthreads();
    if (kStages > 1 && i + 1 < count) fetch(i + 1);
    step(i);
  }
}

// The sum of dy y of each of the rows that stay, made by two lanes a row; heads of one token lie side by side in
// memory.
template <typename Blocking, typename T>
__device__ void estimate_delta(float* to, const Place<Blocking>& place, const T* dy, const T* y) {
  static_assert(Blocking::kThreads == 2 * Blocking::kStaying);
  constexpr int kLength = kChunkLength<T>, kHeads = Blocking::kHeads;
  const auto rows = place.query_rows(dy), of_y = place.query_rows(y);
  const int i = threadIdx.x / 2, head = i % kHeads, token = i / kHeads, width = place.problem.width;
  const bool exists = place.first + token < rows.tokens && head * width < rows.width;
  float sum = 0;
#pragma unroll 4
  for (int c = threadIdx.x % 2 * kLength; c < Blocking::Rows::kWidth / kHeads; c += 2 * kLength)
    if (exists && c < width) {
      const int at = head * width + c;
      const uint4 chunks[2] = {load_vector<uint4>(rows.row(place.first + token) + at),
                               load_vector<uint4>(of_y.row(place.first + token) + at)};
      T values[2][kLength];
      std::memcpy(values, chunks, sizeof values);
#pragma unroll
      for (int j = 0; j < kLength; ++j) sum += static_cast<float>(values[0][j]) * static_cast<float>(values[1][j]);
    }
  sum += __shfl_xor_sync(0xFFFFFFFF, sum, 1);
  if (threadIdx.x % 2 == 0) to[head * Blocking::kTokens + token] = sum;
}

// What a lane knows of its two queries.
struct QueryRows {
  float lse[2] = {0, 0}, delta[2] = {0, 0};  // to base 2; the estimate
  float rest[4] = {0, 0, 0, 0};              // sums of dS, as add_rows leaves them

  __device__ void read_lse(const float* from, int first, int queries) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (const int query = first + half * 8 + fragment_row(); query < queries) lse[half] = kLog2E * from[query];
  }
  __device__ void read_delta(const float* of_rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) delta[half] = of_rows[warp_row() + half * 8 + fragment_row()];
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

  __device__ void store_delta(float* to, int first, int queries) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first + half * 8 + fragment_row();
      if (lane() % 4 == 0 && query < queries) to[query] = delta[half] + rest[half * 2];
    }
  }
};

// dq (null: not wanted) and delta.
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, Blocking::kHeads == 1 && Blocking::kRowBytes <= 128 ? 3 : 2)
    query_gradient_kernel(typename Blocking::Rows::T* __restrict__ dq, float* __restrict__ delta,
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
  const Moving<Blocking> tile{shared + 2 * Blocking::kStayingBytes};               // keys first, values second
  auto* estimates = reinterpret_cast<float*>(tile.at + Moving<Blocking>::kBytes);  // [kStaying]
  const Place<Blocking> place(problem, tiles);
  PassingFetcher<Blocking, Moving<Blocking>> fetch_keys(place.key_rows(k), place.key_rows(v));
  const ProductOfRows<Precision, Rows> multiply_rows;
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
  LeftRows<Precision, Rows, 0> left(queries, warp_row()), left_upstream(upstream, warp_row());
  left.keep(), left_upstream.keep();
  if (!all_keys) rows.read_delta(estimates);
  const float scale = problem.scale * kLog2E;
  float sums[Rows::kWidth / 8][4] = {};
  const auto receive = [&](int i) {
    fetch_keys.round_first(tile, i);
    fetch_keys.round_second(tile, i);
  };
  for_stages<kStages>((problem.keys + kTile - 1) / kTile, fetch, receive, [&](int i) {
    float scores[kTile / 8][4] = {}, dp[kTile / 8][4] = {};
    multiply_rows(scores, left, tile.first(i));
    multiply_rows(dp, left_upstream, tile.second(i));
    hide_missing(scores, problem.keys - i * kTile);
    rows(scores, dp, scale, all_keys);
    multiply_columns(sums, dp, tile.first(i), rows.rest);
  });
  rows.store_delta(delta + row_of_head, place.warp_token(), queries_of_head);
  if (!dq) return;
  __syncwarp();  // a warp reads and writes its own queries only
  put_sums(queries, warp_row(), sums, {problem.scale, problem.scale});
  __syncthreads();
  store_staying<Blocking, Rows::kWidth>(place.query_rows(dq), queries, place.first, 0);
}

// The numbers of queries that go by, two neighbours' -lse to base 2 and -delta side by side; zero where there is no
// query, whose q and dy are zero, too.
template <int kTokens>
struct QueryNumbers {
  float of_pair[kTokens / 2][4];
};

// Fetches them for the heads that share a row, from the first queries on, one number a thread.
template <typename Blocking, int kTokens>
class NumberFetcher {
  static constexpr int kCount = Blocking::kHeads * 2 * kTokens;
  static_assert(kCount <= Blocking::kThreads);

 public:
  __device__ NumberFetcher(const Place<Blocking>& place, const float* lse, const float* delta) {
    const int64_t row_of_head = place.queries_of(threadIdx.x / (2 * kTokens));
    const int i = threadIdx.x % (2 * kTokens), token = i / 4 * 2 + i % 2;
    const bool is_delta = i / 2 % 2;
    factor_ = is_delta ? -1 : -kLog2E;
    source_ = (is_delta ? delta : lse) + row_of_head + token;
    queries_ = row_of_head >= 0 ? place.problem.queries - token : 0;
  }

  // Starts the copies of the next ones, to those of kHeads heads.
  __device__ void operator()(QueryNumbers<kTokens>* to) {
    if (threadIdx.x < kCount) ptx::cp_async<4>(to->of_pair[0] + threadIdx.x, source_, queries_ > 0 ? 4 : 0);
    queries_ -= kTokens, source_ += kTokens;
  }
  // When this thread's copies have come.
  __device__ void receive(QueryNumbers<kTokens>* to) const {
    if (threadIdx.x < kCount) to->of_pair[0][threadIdx.x] *= factor_;
  }

 private:
  float factor_;
  const float* source_;
  int queries_;  // that are left
};

// Scores, transposed, become P, and dp becomes dS.
template <int kWide>
__device__ void score_gradients(float (&scores)[kWide][4], float (&dp)[kWide][4], const QueryNumbers<kWide * 8>& of,
                                float scale) {
#pragma unroll
  for (int j = 0; j < kWide; ++j) {
    const auto numbers = load_vector<float4>(of.of_pair[j * 4 + fragment_column() / 2]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[j][i] = ptx::exp2_approximate(fmaf(scores[j][i], scale, i % 2 ? numbers.y : numbers.x));
      dp[j][i] = scores[j][i] * (dp[j][i] + (i % 2 ? numbers.w : numbers.z));
    }
  }
}

template <typename Blocking>
constexpr int kColumns = Blocking::Rows::kWidth < 128 ? Blocking::Rows::kWidth : 128;  // of dk and dv a block makes

template <typename Blocking>
using Numbers = QueryNumbers<Moving<Blocking>::kTokens>;

// dk and dv (null: not wanted), part blockIdx.y of their columns.
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, 2)
    key_gradients_kernel(typename Blocking::Rows::T* __restrict__ dk, typename Blocking::Rows::T* __restrict__ dv,
                         const typename Blocking::Rows::T* __restrict__ dy,
                         const typename Blocking::Rows::T* __restrict__ q,
                         const typename Blocking::Rows::T* __restrict__ k,
                         const typename Blocking::Rows::T* __restrict__ v, const float* __restrict__ lse,
                         const float* __restrict__ delta, Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  using Tiles = Moving<Blocking>;
  constexpr int kHeads = Blocking::kHeads, kWide = kColumns<Blocking> / 8;
  using Scores = float[Tiles::kTokens / 8][4];
  constexpr int kTile = Tiles::kTokens, kStages = Tiles::kStages;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows keys{shared}, values{shared + Blocking::kStayingBytes};
  const Tiles tile{shared + 2 * Blocking::kStayingBytes};  // queries first, dy second
  auto* numbers = reinterpret_cast<Numbers<Blocking>*>(tile.at + Tiles::kBytes);
  const Place<Blocking> place(problem, tiles);
  const int column = kColumns<Blocking> < Rows::kWidth ? blockIdx.y * kColumns<Blocking> : 0;
  PassingFetcher<Blocking, Tiles> fetch_queries(place.query_rows(q), place.query_rows(dy));
  NumberFetcher<Blocking, kTile> fetch_numbers(place, lse, delta);
  const ProductOfRows<Precision, Rows> multiply_rows;
  const ProductOfColumns<Precision, Rows> multiply_columns;
  const auto fetch = [&](int i) {
    fetch_queries(tile, i);
    fetch_numbers(numbers + i % kStages * kHeads);
    ptx::cp_async_commit();
  };
  const auto receive = [&](int i) {
    fetch_queries.round_first(tile, i);
    fetch_queries.round_second(tile, i);
    fetch_numbers.receive(numbers + i % kStages * kHeads);
  };
  fetch_staying<Blocking>(keys, place.key_rows(k), place.first);
  fetch_staying<Blocking>(values, place.key_rows(v), place.first);
  ptx::cp_async_commit();
  if (kStages > 1) fetch(0);
  await_staying<kStages>();
  LeftRows<Precision, Rows, 0> left(keys, warp_row()), left_values(values, warp_row());
  left.keep(), left_values.keep();
  const float scale = problem.scale * kLog2E;
  float key_sums[kWide][4] = {}, value_sums[kWide][4] = {};
  for_stages<kStages>((problem.queries + kTile - 1) / kTile, fetch, receive, [&](int i) {
    const auto& of = numbers[i % kStages * kHeads + warp_row() / Blocking::kTokens];
    Scores scores = {}, dp = {};
    multiply_rows(scores, left, tile.first(i));
    multiply_rows(dp, left_values, tile.second(i));
    score_gradients(scores, dp, of, scale);
    multiply_columns(value_sums, scores, tile.second(i).from_column(column));
    multiply_columns(key_sums, dp, tile.first(i).from_column(column));
  });
  __syncwarp();  // a warp reads and writes its own keys only
  put_sums(keys.from_column(column), warp_row(), key_sums, {problem.scale, problem.scale});
  put_sums(values.from_column(column), warp_row(), value_sums, {1, 1});
  __syncthreads();
  if (dk) store_staying<Blocking, kColumns<Blocking>>(place.key_rows(dk), keys, place.first, column);
  if (dv) store_staying<Blocking, kColumns<Blocking>>(place.key_rows(dv), values, place.first, column);
}

}  // namespace

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents& e, bool tf32) {
  const Tensor delta = empty_like(out.lse);
  for_blocking(q.dtype(), tf32, e, [&]<typename Blocking>() {
    using T = typename Blocking::Rows::T;
    constexpr size_t kBytes = 2 * Blocking::kStayingBytes + Moving<Blocking>::kBytes;
    if (to.dq || to.dk)
      launch(query_gradient_kernel<Blocking>, dim3(blocks_of<Blocking>(e.queries, e)), Blocking::kThreads,
             kBytes + Blocking::kStaying * sizeof(float), mutable_data<T>(to.dq), mutable_data<float>(delta),
             data<T>(dy), data<T>(q), data<T>(k), data<T>(v), data<T>(out.y), data<float>(out.lse), Problem(e),
             tiles_of<Blocking>(e.queries));
    if (to.dk || to.dv)
      launch(key_gradients_kernel<Blocking>,
             dim3(blocks_of<Blocking>(e.keys, e), Blocking::Rows::kWidth / kColumns<Blocking>), Blocking::kThreads,
             kBytes + Moving<Blocking>::kStages * Blocking::kHeads * sizeof(Numbers<Blocking>), mutable_data<T>(to.dk),
             mutable_data<T>(to.dv), data<T>(dy), data<T>(q), data<T>(k), data<T>(v), data<float>(out.lse),
             data<float>(delta), Problem(e), tiles_of<Blocking>(e.keys));
  });
}

}  // namespace stipple::cuda::flash
