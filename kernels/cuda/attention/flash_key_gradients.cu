#include "kernels/cuda/attention/flash_backward.h"

// The second kernel of flash attention's backward pass (flash_backward.cu): keys and values stay, queries and dy go by.

namespace stipple::cuda::flash {
namespace {

template <typename Blocking>
using QueryTiles =
    Passing<Blocking, tokens_of_tile<Blocking>(), Blocking::kStrips == 1 ? Fetching::later_turns : Fetching::ahead>;

// The numbers of the queries of a stage: of each -lse, and -delta of every two queries twice, as four sums lie.
template <typename Blocking>
struct Numbers {
  static constexpr int kTokens = QueryTiles<Blocking>::kTokens, kCount = Blocking::kHeads * kTokens;
  static constexpr int kBytes = kCount * 3 * sizeof(float);
  float* at;

  __device__ explicit Numbers(std::byte* room, int i)
      : at(reinterpret_cast<float*>(room + ptx::kept(i % QueryTiles<Blocking>::kStages * kBytes))) {}
  __device__ float* minus_lse(int query) const { return at + query; }
  __device__ float* minus_delta(int query) const { return at + kCount + query * 2; }  // and the next query's; even
};

// Fetches queries and dy that go by, and the numbers of queries, one query's a thread: zero where there is no query,
// whose q and dy are zero, too.
template <typename Blocking>
class QueryFetcher : public PassingFetcher<Blocking, QueryTiles<Blocking>> {
  using Tiles = QueryTiles<Blocking>;
  using Own = Numbers<Blocking>;
  static_assert(Own::kCount <= Blocking::kThreads);

 public:
  __device__ QueryFetcher(const Place<Blocking>& place, const typename Blocking::Rows::T* q,
                          const typename Blocking::Rows::T* dy, const float* numbers, int64_t rows, std::byte* room)
      : PassingFetcher<Blocking, Tiles>(place.query_rows(q), place.query_rows(dy)), room_(room), rows_(rows) {
    const int64_t row_of_head = place.queries_of(threadIdx.x / Own::kTokens);
    const int token = threadIdx.x % Own::kTokens;
    lse_ = numbers + row_of_head + token;
    queries_ = row_of_head >= 0 ? place.problem.queries : 0;
  }

  __device__ void second(const Tiles& to, int i) {
    PassingFetcher<Blocking, Tiles>::second(to, i);
    const Own own(room_, i);
    const int query = threadIdx.x;
    const int bytes = i * Own::kTokens + query % Own::kTokens < queries_ ? sizeof(float) : 0;
    if (query < Own::kCount) {
      ptx::cp_async<sizeof(float)>(own.minus_lse(query), lse_, bytes);
#pragma unroll
      for (int copy = 0; copy < 2; ++copy)  // half a warp writes first ones, half second ones: in other banks
        ptx::cp_async<sizeof(float)>(own.minus_delta(query / 2 * 2) + query % 2 + (query / 16 % 2 ^ copy) * 2,
                                     lse_ + rows_, bytes);
    }
    lse_ += Own::kTokens;
  }

 private:
  std::byte* room_;
  int64_t rows_;
  const float* lse_;
  int queries_;  // of the head; none where there is no such head
};

// Scores, transposed, become P.
template <int kStrips, int kWide>
__device__ void to_shares(float (&scores)[kStrips][kWide][4], const float* minus_lse, float scale) {
#pragma unroll
  for (int j = 0; j < kWide; ++j) {
    const auto pair = load_vector<float2>(minus_lse + j * 8);
#pragma unroll
    for (int i = 0; i < kStrips * 4; ++i) {
      float& score = scores[i / 4][j][i % 4];
      score = ptx::exp2_approximate(fmaf(score, scale, i % 2 ? pair.y : pair.x));
    }
  }
}

// Takes delta off dp. kStarts: dp is zero so far.
template <bool kStarts, int kStrips, int kWide>
__device__ void take_delta_off(float (&dp)[kStrips][kWide][4], const float* minus_delta) {
#pragma unroll
  for (int j = 0; j < kWide; ++j) {
    const auto four = load_vector<float4>(minus_delta + j * 16);
    const float each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < kStrips * 4; ++i) {
      float& to = dp[i / 4][j][i % 4];
      to = kStarts ? each[i % 4] : to + each[i % 4];
    }
  }
}

// Where two warps share keys of bf16, each makes P and dS of half of the queries and hands them to both.
template <typename Blocking>
inline constexpr bool kHandsOver = Blocking::kPaired && !kTransposed<typename Blocking::Rows>;

enum class Weights { p, ds };

template <typename Blocking>
class HandedOver {
  using Rows = typename Blocking::Rows;
  using Product = ProductOfColumns<typename Blocking::Precision, Rows>;
  static constexpr int kSteps = QueryTiles<Blocking>::kTokens / 2 / 16;

 public:
  static constexpr int kRoomBytes = kHandsOver<Blocking> ? Blocking::kWarps * 2 * kSteps * 32 * sizeof(uint4) : 0;

  __device__ explicit HandedOver(std::byte* room) : room_(reinterpret_cast<uint4*>(room) + threadIdx.x / 64 * kPair) {}

  template <typename Sums>
  __device__ void put(const Sums& p, const Sums& ds) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      put(p[0] + step * 2, Weights::p, step);
      put(ds[0] + step * 2, Weights::ds, step);
    }
    ptx::named_barrier(1 + threadIdx.x / 64, 64);
  }
  template <typename Sums>
  __device__ void multiply(Sums& sums, Weights which, const Product& product, const Rows& tile) const {
#pragma unroll
    for (int step = 0; step < 2 * kSteps; ++step) {
      uint32_t weights[1][1][1][4];
      const auto four = load_vector<uint4>(place(step / kSteps, which, step % kSteps));
      std::memcpy(weights, &four, sizeof four);
      product.add_steps(sums, weights, tile, step * 16);
    }
  }

 private:
  static constexpr int kPair = 4 * kSteps * 32;

  __device__ uint4* place(int half, Weights which, int step) const {
    return room_ + ((half * 2 + static_cast<int>(which)) * kSteps + step) * 32 + lane();
  }
  __device__ void put(const float (*weights)[4], Weights which, int step) const {
    uint32_t parts[1][4];
    Product::as_operand(parts, weights);
    store_vector(place(Blocking::is_second(), which, step), uint4{parts[0][0], parts[0][1], parts[0][2], parts[0][3]});
  }

  uint4* room_;  // of the pair
};

// Of f32, each makes one product, and they swap them.
template <typename Blocking>
inline constexpr bool kSwaps = Blocking::kPaired && !kHandsOver<Blocking>;

template <typename Blocking>
using Scores = std::conditional_t<kSwaps<Blocking>, SwappedProducts<Blocking, QueryTiles<Blocking>::kTokens>,
                                  ScoreProducts<Blocking, 8 * Blocking::Precision::kParts>>;

// dk and dv (null: not wanted).
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, Blocking::kFewestBlocks)
    key_gradients_kernel(typename Blocking::Rows::T* __restrict__ dk, typename Blocking::Rows::T* __restrict__ dv,
                         const typename Blocking::Rows::T* __restrict__ dy,
                         const typename Blocking::Rows::T* __restrict__ q,
                         const typename Blocking::Rows::T* __restrict__ k,
                         const typename Blocking::Rows::T* __restrict__ v, const float* __restrict__ numbers,
                         int64_t rows_of_all, Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  using Tiles = QueryTiles<Blocking>;
  constexpr int kTile = Tiles::kTokens, kStrips = Blocking::kStrips;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows keys{shared}, values{shared + Blocking::kStayingBytes};
  const Tiles tile{shared + 2 * Blocking::kStayingBytes};  // queries first, dy second
  std::byte* const of_queries = tile.at + Tiles::kBytes;
  std::byte* const room = of_queries + Tiles::kStages * Numbers<Blocking>::kBytes;
  const Place<Blocking> place(problem, tiles);
  QueryFetcher<Blocking> fetch_queries(place, q, dy, numbers, rows_of_all, of_queries);
  const ProductOfColumns<Precision, Rows> product_of_columns;
  fetch_staying<Blocking>(keys, place.key_rows(k), place.first);
  fetch_staying<Blocking>(values, place.key_rows(v), place.first);
  ptx::cp_async_commit();
  fetch_stage_0(tile, fetch_queries);
  ptx::cp_async_wait<1>();
  __syncthreads();  // keys and values have come for everybody
  const Scores<Blocking> multiply_rows(keys, values, room);
  const HandedOver<Blocking> handed_over(room);
  constexpr int kOwn = kHandsOver<Blocking> ? kTile / 2 : kTile;  // queries
  const int first = kHandsOver<Blocking> && Blocking::is_second() ? kOwn : 0;
  const int query = ptx::kept(Blocking::row() / Blocking::kTokens * kTile + first + fragment_column());
  const float scale = problem.scale * kLog2E;
  float key_sums[kStrips][Blocking::kColumns / 8][4] = {}, value_sums[kStrips][Blocking::kColumns / 8][4] = {};
  float scores[kStrips][kOwn / 8][4], dp[kStrips][kOwn / 8][4];
  const auto multiply_columns = [&](auto& sums, const auto& weights, Weights which, const Rows& rows) {
    const Rows own = rows.from_column(Blocking::column());
    if constexpr (kHandsOver<Blocking>)
      handed_over.multiply(sums, which, product_of_columns, own);
    else
      product_of_columns(sums, weights, own);
  };
  const auto multiply_queries = [&](int i) {
    set_to_zero(scores);
    if constexpr (!kSwaps<Blocking>) multiply_rows.add_scores(scores, tile.first(i).from_row(first));
  };
  const auto add_queries = [&](int i) {
    const Numbers<Blocking> own(of_queries, i);
    set_to_zero(dp);
    if (kStartsAtDelta<Blocking>) take_delta_off<true>(dp, own.minus_delta(query));
    if constexpr (kSwaps<Blocking>)
      multiply_rows(scores, dp, tile.first(i), tile.second(i));
    else
      multiply_rows.add_dp(dp, tile.second(i).from_row(first));
    __syncwarp();  // else, here and below, the compiler reads on until registers spill
    if (!kStartsAtDelta<Blocking>) take_delta_off<false>(dp, own.minus_delta(query));
    to_shares(scores, own.minus_lse(query), scale);
    multiply(dp, scores);
    if (kStrips == 1) __syncwarp();
    if constexpr (kHandsOver<Blocking>) handed_over.put(scores, dp);
    multiply_columns(key_sums, dp, Weights::ds, tile.first(i));
  };
  const auto add_upstream = [&](int i) { multiply_columns(value_sums, scores, Weights::p, tile.second(i)); };
  for_stages(tile, fetch_queries, (problem.queries + kTile - 1) / kTile, multiply_queries, add_queries, add_upstream);
  // A single key's share is one whatever its score, so its dk is zero; dP - delta is what the two kernels' sums of dP
  // were rounded to.
  const float of_scores = problem.keys == 1 ? 0 : problem.scale;
  __syncwarp();  // rows are read by the warps that write them now, of a pair before they swapped or handed over
  put_sums<Blocking>(keys, key_sums, of_scores);
  put_sums<Blocking>(values, value_sums, 1);
  __syncthreads();
  if (dk) store_staying<Blocking>(place.key_rows(dk), keys, place.first);
  if (dv) store_staying<Blocking>(place.key_rows(dv), values, place.first);
}

}  // namespace

void key_gradients(const Tensor& dk, const Tensor& dv, const Tensor& dy, const Tensor& q, const Tensor& k,
                   const Tensor& v, const Tensor& numbers, const AttentionExtents& e, bool tf32) {
  for_blocking(q.dtype(), tf32, e, [&]<typename Whole>() {
    using Blocking = std::conditional_t<Whole::Rows::kWidth == 256, typename Whole::Paired, Whole>;
    using T = typename Blocking::Rows::T;
    using Tiles = QueryTiles<Blocking>;
    constexpr size_t kBytes = 2 * Blocking::kStayingBytes + Tiles::kBytes + Tiles::kStages * Numbers<Blocking>::kBytes +
                              Scores<Blocking>::kRoomBytes + HandedOver<Blocking>::kRoomBytes;
    launch(key_gradients_kernel<Blocking>, dim3(blocks_of<Blocking>(e.keys, e)), Blocking::kThreads, kBytes,
           mutable_data<T>(dk), mutable_data<T>(dv), data<T>(dy), data<T>(q), data<T>(k), data<T>(v),
           data<float>(numbers), e.rows(), Problem(e), tiles_of<Blocking>(e.keys));
  });
}

}  // namespace stipple::cuda::flash
