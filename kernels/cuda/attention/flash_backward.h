#pragma once
#include "kernels/cuda/attention/flash.h"

// What the two kernels of rung flash's backward pass have in common (flash_backward.cu).

namespace stipple::cuda::flash {

// What the second kernel needs of a query: -lse, to base 2, and -delta.
using QueryNumbers = float2;

// dq (null: not wanted) and numbers [N * heads * queries, 2].
void query_gradient(const Tensor& dq, const Tensor& numbers, const Tensor& dy, const Tensor& q, const Tensor& k,
                    const Tensor& v, const AttentionOut& out, const AttentionExtents& e, bool tf32);

// dk and dv (null: not wanted).
void key_gradients(const Tensor& dk, const Tensor& dv, const Tensor& dy, const Tensor& q, const Tensor& k,
                   const Tensor& v, const Tensor& numbers, const AttentionExtents& e, bool tf32);

constexpr int tokens_of_tile(int row_bytes) { return row_bytes <= 128 ? 64 : row_bytes <= 256 ? 32 : 16; }

// The widest rows have one stage only: with two, a block would not fit the shared memory of small GPUs.
template <typename Blocking>
using Moving = Passing<Blocking, tokens_of_tile(Blocking::kRowBytes), Blocking::kRowBytes <= 512 ? 2 : 1>;

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

// Two products with rows that stay: scores, and dp. Two warps that share rows make one each and swap them.
template <typename Blocking, int kTokens>
class ScoreProducts {
  using Precision = typename Blocking::Precision;
  using Rows = typename Blocking::Rows;
  static constexpr int kWide = kTokens / 8, kMostKept = 16;  // registers for a warp's rows

 public:
  using Sums = float[kWide][4];
  static constexpr int kRoomBytes = Blocking::kPaired ? Blocking::kStaying * kTokens * 4 : 0;  // to swap sums

  // Of rows that have come.
  __device__ ScoreProducts(const Rows& of_scores, const Rows& of_dp, std::byte* room)
      : left_(Blocking::is_second() ? of_dp : of_scores, Blocking::row()), left_of_dp_(of_dp, Blocking::row()) {
    left_.keep();
    if (!Blocking::kPaired) left_of_dp_.keep();
    room_ = reinterpret_cast<float4*>(room) + lane();
  }

  __device__ void operator()(Sums& scores, Sums& dp, const Rows& of_scores, const Rows& of_dp) const {
    if constexpr (Blocking::kPaired) {
      Sums own = {};
      multiply_rows_(own, left_, Blocking::is_second() ? of_dp : of_scores);
      swap(scores, dp, own);
    } else {
#pragma unroll
      for (int j = 0; j < kWide; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[j][i] = dp[j][i] = 0;
      multiply_rows_(scores, left_, of_scores);
      multiply_rows_(dp, left_of_dp_, of_dp);
    }
  }

 private:
  // The first warp's go through the same place as, after it, the second's.
  __device__ void swap(Sums& scores, Sums& dp, const Sums& own) const {
    const int pair = threadIdx.x / 64;
    const auto meet = [&] { ptx::named_barrier(1 + pair, 64); };
    float4* const place = room_ + pair * kWide * 32;
    Sums others;
    if (!Blocking::is_second()) put(place, own);
    meet();
    if (Blocking::is_second()) take(others, place), put(place, own);
    meet();
    if (!Blocking::is_second()) take(others, place);
#pragma unroll
    for (int j = 0; j < kWide; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[j][i] = Blocking::is_second() ? others[j][i] : own[j][i];
        dp[j][i] = Blocking::is_second() ? own[j][i] : others[j][i];
      }
  }
  __device__ static void put(float4* to, const Sums& from) {
#pragma unroll
    for (int j = 0; j < kWide; ++j) store_vector(to + j * 32, float4{from[j][0], from[j][1], from[j][2], from[j][3]});
  }
  __device__ static void take(Sums& to, const float4* from) {
#pragma unroll
    for (int j = 0; j < kWide; ++j) {
      const auto four = load_vector<float4>(from + j * 32);
      to[j][0] = four.x, to[j][1] = four.y, to[j][2] = four.z, to[j][3] = four.w;
    }
  }

  ProductOfRows<Precision, Rows> multiply_rows_;
  LeftRows<Precision, Rows, kMostKept> left_, left_of_dp_;
  float4* room_;  // this lane's
};

template <typename Blocking>
using Products = ScoreProducts<Blocking, Moving<Blocking>::kTokens>;

}  // namespace stipple::cuda::flash
