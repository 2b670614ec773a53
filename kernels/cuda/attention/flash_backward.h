#pragma once
#include "kernels/cuda/attention/flash.h"

// What the two kernels of rung flash's backward pass have in common (flash_backward.cu).

namespace stipple::cuda::flash {

// dq (null: not wanted) and what the second kernel needs of queries: numbers [2, N * heads * queries], -lse to base 2
// and -delta.
void query_gradient(const Tensor& dq, const Tensor& numbers, const Tensor& dy, const Tensor& q, const Tensor& k,
                    const Tensor& v, const AttentionOut& out, const AttentionExtents& e, bool tf32);

// dk and dv (null: not wanted).
void key_gradients(const Tensor& dk, const Tensor& dv, const Tensor& dy, const Tensor& q, const Tensor& k,
                   const Tensor& v, const Tensor& numbers, const AttentionExtents& e, bool tf32);

// Of a tile that goes by: as many as registers hold scores and dp of.
template <typename Blocking>
constexpr int tokens_of_tile() {
  constexpr int kBytes = Blocking::kRowBytes * Blocking::Precision::kParts;
  return Blocking::kStrips == 2 ? (kBytes <= 64 ? 64 : 32) : kBytes <= 256 ? 64 : Blocking::kRowBytes <= 512 ? 32 : 16;
}

// Whether dp is added to -delta, which so comes off for nothing. f32 would lose digits: of large values with small
// differences dp and delta are large, and what the two kernels' sums of dp then lose is not the same.
template <typename Blocking>
inline constexpr bool kStartsAtDelta = Blocking::Precision::kParts == 1;

// dP - delta becomes dS = P (dP - delta).
template <int kStrips, int kWide>
__device__ void multiply(float (&dp)[kStrips][kWide][4], const float (&p)[kStrips][kWide][4]) {
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip)
#pragma unroll
    for (int i = 0; i < kWide * 4; ++i) dp[strip][i / 4][i % 4] *= p[strip][i / 4][i % 4];
}

// A warp's sums, times a factor, into the rows that stay, which it has read for the last time.
template <typename Blocking, int kWide>
__device__ void put_sums(const typename Blocking::Rows& to, const float (&sums)[Blocking::kStrips][kWide][4],
                         float factor) {
#pragma unroll
  for (int strip = 0; strip < Blocking::kStrips; ++strip)
    cuda::put_sums<typename Blocking::Precision>(to.from_column(Blocking::column()), Blocking::row(strip), sums[strip],
                                                 {factor, factor});
}

// Two products with rows that stay: scores, and dp. kMostKept: registers for the rows of each.
template <typename Blocking, int kMostKept>
class ScoreProducts {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;

 public:
  static constexpr int kRoomBytes = 0;

  // Of rows that have come.
  __device__ ScoreProducts(const Rows& of_scores, const Rows& of_dp, std::byte*)
      : left_(of_scores, Blocking::row()), left_of_dp_(of_dp, Blocking::row()) {
    left_.keep(), left_of_dp_.keep();
  }
  template <typename Sums>
  __device__ void add_scores(Sums& scores, const Rows& tile) const {
    multiply_rows_(scores, left_, tile);
  }
  template <typename Sums>
  __device__ void add_dp(Sums& dp, const Rows& tile) const {
    multiply_rows_(dp, left_of_dp_, tile);
  }

 private:
  ProductOfRows<Precision, Rows> multiply_rows_;
  LeftRows<Precision, Rows, Blocking::kStrips, kMostKept> left_, left_of_dp_;
};

// Where two warps share rows of f32: each makes one of the two, and they swap them.
template <typename Blocking, int kTokens>
class SwappedProducts {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  static constexpr int kWide = kTokens / 8;

 public:
  using Sums = float[1][kWide][4];
  static constexpr int kRoomBytes = Blocking::kStaying * kTokens * 4;

  // Of rows that have come.
  __device__ SwappedProducts(const Rows& of_scores, const Rows& of_dp, std::byte* room)
      : left_(Blocking::is_second() ? of_dp : of_scores, Blocking::row()) {
    left_.keep();
    room_ = reinterpret_cast<float4*>(room) + lane();
  }

  // The first warp's go through the same place as, after it, the second's.
  __device__ void operator()(Sums& scores, Sums& dp, const Rows& tile_of_scores, const Rows& tile_of_dp) const {
    Sums own, others;
    for_all([&](int j, int i) { own[0][j][i] = Blocking::is_second() ? dp[0][j][i] : 0; });
    multiply_rows_(own, left_, Blocking::is_second() ? tile_of_dp : tile_of_scores);
    const int pair = threadIdx.x / 64;
    const auto meet = [&] { ptx::named_barrier(1 + pair, 64); };
    float4* const place = room_ + pair * kWide * 32;
    if (!Blocking::is_second()) put(place, own);
    meet();
    if (Blocking::is_second()) take(others, place), put(place, own);
    meet();
    if (!Blocking::is_second()) take(others, place);
    for_all([&](int j, int i) {
      scores[0][j][i] = Blocking::is_second() ? others[0][j][i] : own[0][j][i];
      dp[0][j][i] = Blocking::is_second() ? own[0][j][i] : others[0][j][i];
    });
  }

 private:
  template <typename F>
  __device__ static void for_all(const F& f) {
#pragma unroll
    for (int i = 0; i < kWide * 4; ++i) f(i / 4, i % 4);
  }
  __device__ static void put(float4* to, const Sums& from) {
#pragma unroll
    for (int j = 0; j < kWide; ++j) {
      const float(&four)[4] = from[0][j];
      store_vector(to + j * 32, float4{four[0], four[1], four[2], four[3]});
    }
  }
  __device__ static void take(Sums& to, const float4* from) {
#pragma unroll
    for (int j = 0; j < kWide; ++j) {
      const auto four = load_vector<float4>(from + j * 32);
      to[0][j][0] = four.x, to[0][j][1] = four.y, to[0][j][2] = four.z, to[0][j][3] = four.w;
    }
  }

  ProductOfRows<Precision, Rows> multiply_rows_;
  LeftRows<Precision, Rows, 1, 0> left_;
  float4* room_;  // this lane's
};

}  // namespace stipple::cuda::flash
