#pragma once
#include <cstring>
#include <type_traits>

#include "kernels/cuda/attention/tile.h"
#include "kernels/cuda/tensor_core.h"

// How tensor cores multiply tiles (tile.h), 16 rows a strip, one strip or two a warp: what it reads of a tile serves
// both. Every address is worked out before the loop over tiles.

namespace stipple::cuda {

// tf32 may be rounded where a tile lies, once for all warps and products that read it: their loops have no room for it.
template <typename Precision>
inline constexpr bool kRoundedInTiles = std::is_same_v<Precision, Tf32>;

template <typename Precision>
__device__ inline void round_in_tile(std::byte* chunk) {
  if constexpr (kRoundedInTiles<Precision>) {
    const auto x = load_vector<float4>(chunk);
    store_vector(chunk, float4{nearly_rounded_to_tf32(x.x), nearly_rounded_to_tf32(x.y), nearly_rounded_to_tf32(x.z),
                               nearly_rounded_to_tf32(x.w)});
  }
}

// Takes apart what comes from a tile, where tf32 is rounded already.
template <typename Precision, int kRegisters>
__device__ inline void split_of_tile(uint32_t (&parts)[Precision::kParts][kRegisters],
                                     const uint32_t (&raw)[kRegisters]) {
  if constexpr (kRoundedInTiles<Precision>)
    std::memcpy(parts[0], raw, sizeof raw);
  else
    split<Precision>(parts, raw);
}

// A left operand: 16 kStrips rows, depth along them. Where these are few registers they stay there, else in shared
// memory.
template <typename Precision, typename Rows, int kStrips, int kMostRegisters>
class LeftRows {
  static constexpr bool kKept = kStrips * Rows::kSteps * Precision::kParts * 4 <= kMostRegisters;

 public:
  using Fragments = uint32_t[kStrips][Precision::kParts][4];

  __device__ LeftRows(const Rows& tile, int row) : tile_(tile), row_(row), own_(row + lane() % 16, lane() / 16) {}

  // When the tile has come for the warp, to which its rows belong.
  __device__ void keep() {
    if constexpr (kRoundedInTiles<Precision>) {
#pragma unroll
      for (int i = lane(); i < kStrips * 16 * Rows::kChunks; i += 32)
        round_in_tile<Precision>(tile_.chunk(row_ + i / Rows::kChunks, i % Rows::kChunks));
      __syncwarp();
    }
    if constexpr (kKept)
#pragma unroll
      for (int step = 0; step < Rows::kSteps; ++step) read(kept_[step], step);
  }
  __device__ void operator()(Fragments& to, int step) const {
    if constexpr (kKept)
      std::memcpy(to, kept_[step], sizeof to);
    else
      read(to, step);
  }

 private:
  __device__ void read(Fragments& to, int step) const {
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
      uint32_t raw[4];
      ptx::ldmatrix_x4(raw, own_(tile_, strip * 16, step * 2));
      split_of_tile<Precision>(to[strip], raw);
    }
  }

  Rows tile_;
  int row_;
  OwnChunk<Rows> own_;
  Fragments kept_[kKept ? Rows::kSteps : 1];
};

// sums[s][j] += the left rows of strip s times rows 8 j to 8 j + 7 of a tile.
template <typename Precision, typename Rows>
class ProductOfRows {
 public:
  __device__ ProductOfRows() : own_(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2) {}

  template <typename Left, int kStrips, int kWide>
  __device__ void operator()(float (&sums)[kStrips][kWide][4], const Left& left_rows, const Rows& tile) const {
    // The longest rows, taken apart, would spill registers.
    [[maybe_unused]] constexpr int kUnrolled = Rows::kSteps * (Precision::kParts - 1) >= 16 ? 4 : Rows::kSteps;
#pragma unroll kUnrolled
    for (int step = 0; step < Rows::kSteps; ++step) {
      typename Left::Fragments left;
      left_rows(left, step);
#pragma unroll
      for (int j = 0; j < kWide; j += 2) {
        uint32_t raw[4], even[Precision::kParts][2], odd[Precision::kParts][2];
        ptx::ldmatrix_x4(raw, own_(tile, j * 8, step * 2));
        split_of_tile<Precision>(even, {raw[0], raw[1]});
        split_of_tile<Precision>(odd, {raw[2], raw[3]});
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Precision::multiply(sums[strip][j], left[strip], even);
          Precision::multiply(sums[strip][j + 1], left[strip], odd);
        }
      }
    }
  }

 private:
  OwnChunk<Rows> own_;
};

// Sums j to j + kCount - 1 of each strip, or what is to be added to them. Tensor cores cut off what they add to large
// sums: so some steps of f32 are summed apart and added as f32 (multiply_of_many).
template <typename Precision, int kStrips, int kCount, int kWide>
class SumsApart {
  static constexpr bool kApart = Precision::kParts > 1;

 public:
  __device__ SumsApart(float (&sums)[kStrips][kWide][4], int j) : sums_(sums), j_(j) {}
  __device__ float (&sum(int strip, int i))[4] {
    if constexpr (kApart) return apart_[strip][i];
    return sums_[strip][j_ + i];
  }
  __device__ void add() {
    if constexpr (kApart)
#pragma unroll
      for (int i = 0; i < kStrips * kCount * 4; ++i)
        sums_[i / 4 / kCount][j_ + i / 4 % kCount][i % 4] += apart_[i / 4 / kCount][i / 4 % kCount][i % 4];
  }

 private:
  float (&sums_)[kStrips][kWide][4];
  int j_;
  float apart_[kApart ? kStrips : 1][kCount][4] = {};
};

// Over the four lanes that share rows of sums.
__device__ inline float sum_of_row(float x) {
  x += __shfl_xor_sync(0xFFFFFFFF, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFF, x, 2);
}
__device__ inline float largest_of_row(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFF, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFF, x, 2));
}

template <int kStrips, int kWide>
__device__ void set_to_zero(float (&sums)[kStrips][kWide][4]) {
#pragma unroll
  for (int i = 0; i < kStrips * kWide * 4; ++i) sums[i / 4 / kWide][i / 4 % kWide][i % 4] = 0;
}

// Scores of keys that are not there count for nothing; `keys` are.
template <int kStrips, int kWide>
__device__ void hide_missing(float (&scores)[kStrips][kWide][4], int keys) {
  if (keys >= kWide * 8) return;
#pragma unroll
  for (int j = 0; j < kWide; ++j)
#pragma unroll
    for (int i = 0; i < kStrips * 4; ++i)
      if (j * 8 + fragment_column() + i % 2 >= keys) scores[i / 4][j][i % 4] = -INFINITY;
}

// Calls run.operator()<Precision>() with what multiplies tensors of this dtype.
template <typename F>
void for_precision(const char* operation, Dtype dtype, bool tf32, F&& run) {
  if (dtype == Dtype::bf16) return run.template operator()<Bf16>();
  check(dtype == Dtype::f32, "{}: computes in f32 and bf16 on cuda, got {}", operation, name_of(dtype));
  tf32 ? run.template operator()<Tf32>() : run.template operator()<F32>();
}

}  // namespace stipple::cuda
