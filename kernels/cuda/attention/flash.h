#pragma once
#include "kernels/cuda/attention/product_of_columns.h"
#include "kernels/cuda/attention/rungs.h"

// What forward and backward pass of rung flash have in common: blocks of tokens that stay, and blocks that go by.

namespace stipple::cuda::flash {

// kWidth: elements of a row in shared memory, what the channels of kHeadCount heads side by side are rounded up to.
// With two heads, each has half the warps, and its own rows among those that stay; the other's columns there are zero.
// A warp's rows are strips of 16, two where registers hold them (f32 is taken apart): what it reads of a tile, and
// works out for it, serves both. kWarpsOfRow: 2 where two warps share a strip, each with half the columns of its
// results.
template <typename P, int kWidth, int kHeadCount = 1, int kWarpsOfRow = 1>
struct Blocking {
  using Precision = P;
  using Rows = Tile<typename Precision::Element, kWidth>;
  using Paired = Blocking<P, kWidth, kHeadCount, 2>;
  static constexpr int kHeads = kHeadCount, kStrips = kWidth * P::kParts <= 64 ? 2 : 1, kRowBytes = Rows::kRowBytes;
  static constexpr int kWarps = 4 * kHeads / kStrips, kThreads = 32 * kWarps;
  static constexpr int kFewestBlocks = kWarps < 4 ? 8 / kWarps : 2;  // of a multiprocessor: registers for 8 warps
  static constexpr bool kPaired = kWarpsOfRow == 2;
  static constexpr int kStaying = 16 * kStrips * kWarps / kWarpsOfRow, kTokens = kStaying / kHeads;
  static constexpr int kStayingBytes = kStaying * kRowBytes, kColumns = kWidth / kWarpsOfRow;

  // Where a warp's rows begin among those that stay, and its columns of results.
  __device__ static int row(int strip = 0) { return threadIdx.x / 32 / kWarpsOfRow * 16 * kStrips + strip * 16; }
  __device__ static bool is_second() { return threadIdx.x / 32 % kWarpsOfRow; }
  __device__ static int column() { return is_second() * kColumns; }
};

// How tiles that go by are fetched while others are multiplied.
enum class Fetching {
  ahead,       // both of the next stage, into the other of two
  by_turns,    // one stage: the second while the first is multiplied, the next first while the second is
  later_turns  // one stage: the same, but the first tile is needed up to the last product
};

// Two tiles of kTokens tokens that go by together.
template <typename Blocking, int kTokensOfTile, Fetching kHow>
struct Passing {
  using Rows = typename Blocking::Rows;
  static constexpr Fetching kFetching = kHow;
  static constexpr int kTokens = kTokensOfTile, kStages = kHow == Fetching::ahead ? 2 : 1;
  static constexpr int kTileBytes = kTokens * Blocking::kRowBytes, kBytes = kStages * 2 * kTileBytes;
  std::byte* at;

  // The compiler is not told that a stage's offset is one of two numbers: it would work out a place's sum with it for
  // every step of a product, instead of adding the step's constant in the instruction that reads.
  __device__ Rows first(int i) const { return {kStages == 1 ? at : at + ptx::kept(i % kStages * 2 * kTileBytes)}; }
  __device__ Rows second(int i) const { return {first(i).at + kTileBytes}; }
};

// Fetches a pair of such tiles, of tensors of one shape, from the first tokens on.
template <typename Blocking, typename Passing>
class PassingFetcher {
  using T = typename Blocking::Rows::T;

 public:
  __device__ PassingFetcher(const HeadRows<const T>& first, const HeadRows<const T>& second)
      : fetch_(first, 0), away_(second.first - first.first) {}

  // Start the copies of the next tiles, one after the other.
  __device__ void first(const Passing& to, int i) const { fetch_(to.first(i)); }
  __device__ void second(const Passing& to, int i) {
    fetch_(to.second(i), away_);
    fetch_.go_down();
  }
  // Round what this thread has copied, when that has come and before the others learn of it.
  __device__ void round_first(const Passing& to, int i) const { round(to.first(i)); }
  __device__ void round_second(const Passing& to, int i) const { round(to.second(i)); }

 private:
  __device__ void round(const typename Blocking::Rows& tile) const {
    using Precision = typename Blocking::Precision;
    if constexpr (kRoundedInTiles<Precision>) fetch_.for_own(tile, round_in_tile<Precision>);
  }

  TileFetcher<typename Blocking::Rows, Passing::kTokens, Blocking::kThreads> fetch_;
  int64_t away_;
};

// Starts the first copies: of stage 0, or of its first tile where its two are fetched by turns.
template <typename Passing, typename Fetcher>
__device__ void fetch_stage_0(const Passing& tile, Fetcher& fetch) {
  fetch.first(tile, 0);
  if (Passing::kFetching == Fetching::ahead) fetch.second(tile, 0);
  ptx::cp_async_commit();
}

// Calls, for all `count` stages, first(i) when the first tile has come for everybody, second(i) when the second has,
// and third(i). Stage 0 is under way.
template <typename Passing, typename Fetcher, typename First, typename Second, typename Third>
__device__ void for_stages(const Passing& tile, Fetcher& fetch, int count, const First& first, const Second& second,
                           const Third& third) {
  constexpr Fetching kHow = Passing::kFetching;
  for (int i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count;
    ptx::cp_async_wait<0>();
    fetch.round_first(tile, i);
    if (kHow == Fetching::ahead) fetch.round_second(tile, i);
    __syncthreads();  // the first tile has come, and everybody is done with the stage before
    if (kHow != Fetching::ahead) fetch.second(tile, i);
    if (kHow == Fetching::ahead && !is_last) fetch.first(tile, i + 1), fetch.second(tile, i + 1);
    ptx::cp_async_commit();
    first(i);
    if (kHow != Fetching::ahead) {
      ptx::cp_async_wait<0>();
      fetch.round_second(tile, i);
      __syncthreads();  // the second has come, and everybody is done with first(i)
      if (kHow == Fetching::by_turns && !is_last) fetch.first(tile, i + 1);
      ptx::cp_async_commit();
    }
    second(i);
    if (kHow == Fetching::later_turns) {
      __syncthreads();  // everybody is done with the first tile
      if (!is_last) fetch.first(tile, i + 1);
      ptx::cp_async_commit();
    }
    third(i);
  }
}

// Numbers of the problem, as kernels take them.
struct Problem {
  int heads, queries, keys, width;
  float scale;

  explicit Problem(const AttentionExtents& e)
      : heads(static_cast<int>(e.heads)),
        queries(static_cast<int>(e.queries)),
        keys(static_cast<int>(e.keys)),
        width(static_cast<int>(e.width)),
        scale(e.scale) {}
};

// What a block works on: a tile of tokens of the heads that share a row. Block (tile + tiles * such heads of all
// images).
template <typename Blocking>
struct Place {
  const Problem& problem;
  int image, head, first;  // head: the first of them; first: the tile's first token

  __device__ Place(const Problem& p, int tiles) : problem(p), first(blockIdx.x % tiles * Blocking::kTokens) {
    const int groups = (p.heads + Blocking::kHeads - 1) / Blocking::kHeads, group = blockIdx.x / tiles;
    image = group / groups;
    head = group % groups * Blocking::kHeads;
  }
  template <typename T>
  __device__ HeadRows<T> query_rows(T* tensor) const {
    return rows(tensor, problem.queries);
  }
  template <typename T>
  __device__ HeadRows<T> key_rows(T* tensor) const {
    return rows(tensor, problem.keys);
  }

  // The first token of a strip of a warp, and the number of its head's first row of P, [image][head][query]: -1 where
  // there is no such head.
  __device__ int token_of(int strip) const { return first + Blocking::row(strip) % Blocking::kTokens; }
  __device__ int64_t warp_queries() const { return queries_of(Blocking::row() / Blocking::kTokens); }
  __device__ int64_t queries_of(int which) const {
    return head + which < problem.heads ? (int64_t{image} * problem.heads + head + which) * problem.queries : -1;
  }

 private:
  template <typename T>
  __device__ HeadRows<T> rows(T* tensor, int tokens) const {
    const int stride = problem.heads * problem.width;
    return {tensor + int64_t{image} * tokens * stride + head * problem.width, tokens,
            min(Blocking::kHeads, problem.heads - head) * problem.width, stride};
  }
};

// Starts copies of the rows that stay.
template <typename Blocking, typename T>
__device__ void fetch_staying(const typename Blocking::Rows& to, const HeadRows<const T>& from, int token) {
  if constexpr (Blocking::kHeads == 1) {
    const TileFetcher<typename Blocking::Rows, Blocking::kStaying, Blocking::kThreads> fetch(from, token);
    fetch(to);
  } else {
    for (int i = threadIdx.x; i < Blocking::kTokens * 4; i += Blocking::kThreads) {
      const int chunk = i % 2, head = i / 2 % 2 ^ chunk, column = chunk * kChunkLength<T>;
      const int t = i / 4 ^ head * 2;  // both heads' rows of one token would meet in the same banks
      const bool inside = head == chunk && token + t < from.tokens && column < from.width;
      ptx::cp_async<kChunkBytes>(to.chunk(head * Blocking::kTokens + t, chunk),
                                 inside ? from.row(token + t) + column : from.first, inside ? kChunkBytes : 0);
    }
  }
}

// The rows that stay, back to memory.
template <typename Blocking, typename T>
__device__ void store_staying(const HeadRows<T>& to, const typename Blocking::Rows& from, int token) {
  if constexpr (Blocking::kHeads == 1) {
    store<Blocking::kStaying, Blocking::kThreads>(to, from, token);
  } else {
    for (int i = threadIdx.x; i < Blocking::kStaying; i += Blocking::kThreads) {
      const int head = i % 2, t = i / 2, first = head * kChunkLength<T>;
      if (token + t < to.tokens && first < to.width)
        store_vector(to.row(token + t) + first, load_vector<uint4>(from.chunk(head * Blocking::kTokens + t, head)));
    }
  }
}

// How many blocks one tile after another takes.
template <typename Blocking>
int tiles_of(int64_t tokens) {
  return static_cast<int>((tokens + Blocking::kTokens - 1) / Blocking::kTokens);
}
template <typename Blocking>
unsigned blocks_of(int64_t tokens, const AttentionExtents& e) {
  const int64_t groups = (e.heads + Blocking::kHeads - 1) / Blocking::kHeads;
  return static_cast<unsigned>(tiles_of<Blocking>(tokens) * e.images * groups);
}

constexpr float kLog2E = 1.44269504f, kLn2 = .693147181f;

// Calls run.operator()<Blocking>() with the narrowest that takes heads of this width. A head of 8 in bf16 is half a
// sector of memory: two go together.
template <typename Precision, typename F>
void for_width(int64_t width, int64_t heads, F&& run) {
  constexpr int kNarrowest = 32 / static_cast<int>(sizeof(typename Precision::Element));
  if constexpr (kNarrowest == 16)
    if (width == 8 && heads > 1) return run.template operator()<Blocking<Precision, kNarrowest, 2>>();
  if (width <= kNarrowest) return run.template operator()<Blocking<Precision, kNarrowest>>();
  if (width <= 32) return run.template operator()<Blocking<Precision, 32>>();
  if (width <= 64) return run.template operator()<Blocking<Precision, 64>>();
  if (width <= 128) return run.template operator()<Blocking<Precision, 128>>();
  check(width <= kWidest, "attention: rung flash takes heads of up to {} channels, got {}", kWidest, width);
  run.template operator()<Blocking<Precision, kWidest>>();
}

template <typename F>
void for_blocking(Dtype dtype, bool tf32, const AttentionExtents& e, F&& run) {
  for_precision("attention", dtype, tf32, [&]<typename Precision>() { for_width<Precision>(e.width, e.heads, run); });
}

}  // namespace stipple::cuda::flash
