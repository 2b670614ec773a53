#pragma once
#include "kernels/cuda/attention/rungs.h"
#include "kernels/cuda/attention/tile.h"

// What forward and backward pass of rung flash have in common: blocks of tokens that stay, and blocks that go by.

namespace stipple::cuda::flash {

// kWidth: elements of a row in shared memory, what a head's channels are rounded up to.
template <typename P, int kWidth>
struct Blocking {
  using Precision = P;
  using Rows = Tile<typename Precision::Element, kWidth>;
  static constexpr int kRowBytes = Rows::kRowBytes;
  static constexpr int kWarps = kRowBytes <= 512 ? 4 : 2, kThreads = 32 * kWarps;
  static constexpr int kStaying = 16 * kWarps;  // tokens, 16 a warp
  static constexpr int kStayingBytes = kStaying * kRowBytes;
};

// Two tiles of kTokens tokens that go by together: one stage is fetched while another is multiplied, where there are two.
template <typename Blocking, int kTokensOfTile, int kStageCount>
struct Passing {
  using Rows = typename Blocking::Rows;
  static constexpr int kTokens = kTokensOfTile, kStages = kStageCount;
  static constexpr int kTileBytes = kTokens * Blocking::kRowBytes, kBytes = kStages * 2 * kTileBytes;
  std::byte* at;

  __device__ Rows first(int i) const { return {at + i % kStages * 2 * kTileBytes}; }
  __device__ Rows second(int i) const { return {first(i).at + kTileBytes}; }
};

// Where a warp's tokens begin among those that stay.
__device__ inline int warp_row() { return threadIdx.x / 32 * 16; }

// Numbers of the problem, as kernels take them.
struct Problem {
  int heads, queries, keys, width;
  float scale;

  explicit Problem(const AttentionExtents& e)
      : heads(static_cast<int>(e.heads)),
        queries(static_cast<int>(e.queries)),
        keys(static_cast<int>(e.keys)),
        width(static_cast<int>(e.width)),
        scale(e.scale()) {}
  template <typename T>
  __device__ HeadRows<T> query_rows(T* tensor, int head) const {
    return {tensor, head, heads, queries, width};
  }
  template <typename T>
  __device__ HeadRows<T> key_rows(T* tensor, int head) const {
    return {tensor, head, heads, keys, width};
  }
};

constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// Calls run.operator()<Blocking>() with the narrowest that takes heads of this width.
template <typename Precision, typename F>
void for_width(int64_t width, F&& run) {
  constexpr int kNarrowest = 32 / static_cast<int>(sizeof(typename Precision::Element));
  if (width <= kNarrowest) return run.template operator()<Blocking<Precision, kNarrowest>>();
  if (width <= 32) return run.template operator()<Blocking<Precision, 32>>();
  if (width <= 64) return run.template operator()<Blocking<Precision, 64>>();
  if (width <= 128) return run.template operator()<Blocking<Precision, 128>>();
  check(width <= kWidest, "attention: rung flash takes heads of up to {} channels, got {}", kWidest, width);
  run.template operator()<Blocking<Precision, kWidest>>();
}

template <typename F>
void for_blocking(Dtype dtype, bool tf32, int64_t width, F&& run) {
  for_precision("attention", dtype, tf32, [&]<typename Precision>() { for_width<Precision>(width, run); });
}

}  // namespace stipple::cuda::flash
