#include "kernels/cuda/attention/flash_backward.h"

// The second kernel of flash attention's backward pass (flash_backward.cu): keys and values stay, queries and dy go by.

namespace stipple::cuda::flash {
namespace {

// Fetches the numbers of queries that go by, [head][token], for the heads that share a row, from the first queries on,
// one query's a thread: zero where there is no query, whose q and dy are zero, too.
template <typename Blocking>
class NumberFetcher {
  static constexpr int kTokens = Moving<Blocking>::kTokens, kCount = Blocking::kHeads * kTokens;
  static_assert(kCount <= Blocking::kThreads);

 public:
  static constexpr int kBytes = kCount * sizeof(QueryNumbers);

  __device__ NumberFetcher(const Place<Blocking>& place, const QueryNumbers* of_queries) {
    const int64_t row_of_head = place.queries_of(threadIdx.x / kTokens);
    const int token = threadIdx.x % kTokens;
    source_ = of_queries + row_of_head + token;
    queries_ = row_of_head >= 0 ? place.problem.queries - token : 0;
  }

  // Starts the copies of the next ones.
  __device__ void operator()(QueryNumbers* to) {
    if (threadIdx.x < kCount) ptx::cp_async<sizeof *to>(to + threadIdx.x, source_, queries_ > 0 ? sizeof *to : 0);
    queries_ -= kTokens, source_ += kTokens;
  }

 private:
  const QueryNumbers* source_;
  int queries_;  // that are left
};

// Scores, transposed, become P, and dp becomes dS; `of`: numbers of this lane's first two queries.
template <int kWide>
__device__ void score_gradients(float (&scores)[kWide][4], float (&dp)[kWide][4], const QueryNumbers* of, float scale) {
#pragma unroll
  for (int j = 0; j < kWide; ++j) {
    const auto pair = load_vector<float4>(of + j * 8);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[j][i] = ptx::exp2_approximate(fmaf(scores[j][i], scale, i % 2 ? pair.z : pair.x));
      dp[j][i] = scores[j][i] * (dp[j][i] + (i % 2 ? pair.w : pair.y));
    }
  }
}

// dk and dv (null: not wanted).
template <typename Blocking>
__global__ void __launch_bounds__(Blocking::kThreads, 2)
    key_gradients_kernel(typename Blocking::Rows::T* __restrict__ dk, typename Blocking::Rows::T* __restrict__ dv,
                         const typename Blocking::Rows::T* __restrict__ dy,
                         const typename Blocking::Rows::T* __restrict__ q,
                         const typename Blocking::Rows::T* __restrict__ k,
                         const typename Blocking::Rows::T* __restrict__ v, const QueryNumbers* __restrict__ of_queries,
                         Problem problem, int tiles) {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  using Tiles = Moving<Blocking>;
  constexpr int kWide = Blocking::kColumns / 8, kTile = Tiles::kTokens, kStages = Tiles::kStages;
  std::byte* shared = dynamic_shared<std::byte>();
  const Rows keys{shared}, values{shared + Blocking::kStayingBytes};
  const Tiles tile{shared + 2 * Blocking::kStayingBytes};  // queries first, dy second
  std::byte* const room = tile.at + Tiles::kBytes;
  std::byte* const numbers = room + Products<Blocking>::kRoomBytes;
  const Place<Blocking> place(problem, tiles);
  const int column = Blocking::column();
  PassingFetcher<Blocking, Tiles> fetch_queries(place.query_rows(q), place.query_rows(dy));
  NumberFetcher<Blocking> fetch_numbers(place, of_queries);
  const ProductOfColumns<Precision, Rows> multiply_columns;
  const auto numbers_of = [&](int i) {
    return reinterpret_cast<QueryNumbers*>(numbers + ptx::kept(i % kStages * NumberFetcher<Blocking>::kBytes));
  };
  const int own_numbers = ptx::kept(Blocking::row() / Blocking::kTokens * kTile + fragment_column());
  const auto fetch = [&](int i) {
    fetch_queries(tile, i);
    fetch_numbers(numbers_of(i));
    ptx::cp_async_commit();
  };
  const auto receive = [&](int i) { fetch_queries.round(tile, i); };
  fetch_staying<Blocking>(keys, place.key_rows(k), place.first);
  fetch_staying<Blocking>(values, place.key_rows(v), place.first);
  ptx::cp_async_commit();
  if (kStages > 1) fetch(0);
  await_staying<kStages>();
  const Products<Blocking> multiply_rows(keys, values, room);
  const float scale = problem.scale * kLog2E;
  float key_sums[kWide][4] = {}, value_sums[kWide][4] = {};
  for_stages<kStages>((problem.queries + kTile - 1) / kTile, fetch, receive, [&](int i) {
    typename Products<Blocking>::Sums scores, dp;
    multiply_rows(scores, dp, tile.first(i), tile.second(i));
    score_gradients(scores, dp, numbers_of(i) + own_numbers, scale);
    multiply_columns(value_sums, scores, tile.second(i).from_column(column));
    multiply_columns(key_sums, dp, tile.first(i).from_column(column));
  });
  __syncwarp();  // rows are read by the warps that write them now, of a pair before they swapped
  put_sums<Precision>(keys.from_column(column), Blocking::row(), key_sums, {problem.scale, problem.scale});
  put_sums<Precision>(values.from_column(column), Blocking::row(), value_sums, {1, 1});
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
    constexpr size_t kBytes = 2 * Blocking::kStayingBytes + Moving<Blocking>::kBytes + Products<Blocking>::kRoomBytes +
                              Moving<Blocking>::kStages * NumberFetcher<Blocking>::kBytes;
    launch(key_gradients_kernel<Blocking>, dim3(blocks_of<Blocking>(e.keys, e)), Blocking::kThreads, kBytes,
           mutable_data<T>(dk), mutable_data<T>(dv), data<T>(dy), data<T>(q), data<T>(k), data<T>(v),
           reinterpret_cast<const QueryNumbers*>(data<float>(numbers)), Problem(e), tiles_of<Blocking>(e.keys));
  });
}

}  // namespace stipple::cuda::flash
