#pragma once
#include <cstring>
#include <type_traits>

#include "kernels/cuda/attention/tile.h"
#include "kernels/cuda/tensor_core.h"

// How tensor cores multiply tiles (tile.h), 16 rows a warp. Every address is worked out before the loop over tiles.
//
// A fragment of a right operand is eight columns, of which each group of four lanes holds one; which ones is ours to
// choose, as long as sums are taken for what they are. Where the depth runs down a tile's columns,
//   bf16  ldmatrix transposes; fragment j is columns 8j to 8j + 7.
//   f32   a lane reads 16 bytes of a row at once, the columns of four fragments: of 32 columns, fragment j has 4g + j
//         for lane group g. So a lane ends up with sums of eight columns side by side.

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

// Takes apart what comes from a tile, where it is rounded already or not.
template <typename Precision, bool kRounded = true, int kRegisters>
__device__ inline void split_of_tile(uint32_t (&parts)[Precision::kParts][kRegisters],
                                     const uint32_t (&raw)[kRegisters]) {
  if constexpr (kRounded && kRoundedInTiles<Precision>)
    std::memcpy(parts[0], raw, sizeof raw);
  else
    split<Precision>(parts, raw);
}

// Whether fragments of columns of f32 come four at once; in rows of less than 32 they come one by one.
template <typename Rows>
inline constexpr bool kFoursOfColumns = std::is_same_v<typename Rows::T, float>&& Rows::kWidth % 32 == 0;

// A left operand: 16 rows, depth along them. Where these are few registers they stay there, else in shared memory.
template <typename Precision, typename Rows, int kMostRegisters>
class LeftRows {
  static constexpr bool kKept = Rows::kSteps * Precision::kParts * 4 <= kMostRegisters;

 public:
  __device__ LeftRows(const Rows& tile, int row) : tile_(tile), row_(row), own_(row + lane() % 16, lane() / 16) {}

  // When the tile has come for the warp, to which its rows belong.
  __device__ void keep() {
    if constexpr (kRoundedInTiles<Precision>) {
#pragma unroll
      for (int i = lane(); i < 16 * Rows::kChunks; i += 32)
        round_in_tile<Precision>(tile_.chunk(row_ + i / Rows::kChunks, i % Rows::kChunks));
      __syncwarp();
    }
    if constexpr (kKept)
#pragma unroll
      for (int step = 0; step < Rows::kSteps; ++step) read(kept_[step], step);
  }
  __device__ void operator()(uint32_t (&to)[Precision::kParts][4], int step) const {
    if constexpr (kKept)
      std::memcpy(to, kept_[step], sizeof to);
    else
      read(to, step);
  }

 private:
  __device__ void read(uint32_t (&to)[Precision::kParts][4], int step) const {
    uint32_t raw[4];
    ptx::ldmatrix_x4(raw, own_(tile_, 0, step * 2));
    split_of_tile<Precision>(to, raw);
  }

  Rows tile_;
  int row_;
  OwnChunk<Rows> own_;
  uint32_t kept_[kKept ? Rows::kSteps : 1][Precision::kParts][4];
};

// sums[j] += the left rows times rows 8 j to 8 j + 7 of a tile.
template <typename Precision, typename Rows>
class ProductOfRows {
 public:
  __device__ ProductOfRows() : own_(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2) {}

  template <typename Left, int kWide>
  __device__ void operator()(float (&sums)[kWide][4], const Left& left_rows, const Rows& tile) const {
    // The longest rows, taken apart, would spill registers.
    [[maybe_unused]] constexpr int kUnrolled = Rows::kSteps * (Precision::kParts - 1) >= 16 ? 4 : Rows::kSteps;
#pragma unroll kUnrolled
    for (int step = 0; step < Rows::kSteps; ++step) {
      uint32_t left[Precision::kParts][4];
      left_rows(left, step);
#pragma unroll
      for (int j = 0; j < kWide; j += 2) {
        uint32_t raw[4], even[Precision::kParts][2], odd[Precision::kParts][2];
        ptx::ldmatrix_x4(raw, own_(tile, j * 8, step * 2));
        split_of_tile<Precision>(even, {raw[0], raw[1]});
        split_of_tile<Precision>(odd, {raw[2], raw[3]});
        Precision::multiply(sums[j], left, even);
        Precision::multiply(sums[j + 1], left, odd);
      }
    }
  }

 private:
  OwnChunk<Rows> own_;
};

// Sums of 16 rows as the left operand of a product: 16 columns of bf16, two fragments, in their order.
__device__ inline void as_left(uint32_t (&raw)[4], const float (*sums)[4], __nv_bfloat16) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
    std::memcpy(&raw[i], &pair, sizeof pair);
  }
}
// 8 columns of f32: even ones, then odd ones. Their order is free as long as the right operand's rows have the same.
__device__ inline void as_left(uint32_t (&raw)[4], const float (*sums)[4], float) {
#pragma unroll
  for (int i = 0; i < 4; ++i) raw[i] = __float_as_uint(sums[0][i % 2 * 2 + i / 2]);
}

// The right operand from a tile whose rows are the depth, kFragments at once: 32 bytes of depth from `row` on.
template <typename Rows>
class Columns {
 public:
  static constexpr bool kFours = kFoursOfColumns<Rows>, kBf16 = Rows::kLength == 8;
  static constexpr int kFragments = kBf16 ? 2 : kFours ? 4 : 1;

  __device__ Columns() : own_(first()) {}
  __device__ void operator()(uint32_t (&to)[kFragments][2], const Rows& tile, int row, int fragment) const {
    if constexpr (kBf16) {
      uint32_t raw[4];
      ptx::ldmatrix_x4_trans(raw, own_(tile, row, fragment));
      to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) read(to, i, own_(tile, row + i, fragment * 2));
    }
  }

 private:
  __device__ static OwnChunk<Rows> first() {
    if constexpr (kBf16) return {lane() % 16, lane() / 16};
    if constexpr (kFours) return {fragment_column(), fragment_row()};
    return {fragment_column(), fragment_row() / 4, fragment_row() % 4 * 4};
  }
  __device__ static void read(uint32_t (&to)[kFragments][2], int i, const std::byte* from) {
    if constexpr (kFours) {
      const uint4 four = load_vector<uint4>(from);
      to[0][i] = four.x, to[1][i] = four.y, to[2][i] = four.z, to[3][i] = four.w;
    } else {
      to[0][i] = *reinterpret_cast<const uint32_t*>(from);
    }
  }

  OwnChunk<Rows> own_;
};

// sums += a left fragment times ones: the sum of each of its rows, in all columns.
template <typename Precision>
__device__ inline void add_rows(float (&sums)[4], const uint32_t (&left)[Precision::kParts][4]) {
  using Part = std::conditional_t<std::is_same_v<Precision, Bf16>, Bf16, Tf32>;
  constexpr uint32_t kOne = std::is_same_v<Precision, Bf16> ? 0x3F803F80 : 0x3F800000;
#pragma unroll
  for (int part = 0; part < Precision::kParts; ++part)
    Part::multiply(sums, {{left[part][0], left[part][1], left[part][2], left[part][3]}}, {{kOne, kOne}});
}

// sums += weights, 16 x 8 kDeep as sums lie, times the columns of a tile's 8 kDeep rows; kRounded: that tile is.
template <typename Precision, typename Rows, bool kRounded = true>
class ProductOfColumns {
 public:
  template <int kDeep, int kWide>
  __device__ void operator()(float (&sums)[kWide][4], const float (&weights)[kDeep][4], const Rows& tile) const {
    multiply(sums, weights, tile, [](const auto&) {});
  }
  // Also row_sums += weights, as add_rows does.
  template <int kDeep, int kWide>
  __device__ void operator()(float (&sums)[kWide][4], const float (&weights)[kDeep][4], const Rows& tile,
                             float (&row_sums)[4]) const {
    multiply(sums, weights, tile, [&](const auto& left) { add_rows<Precision>(row_sums, left); });
  }

 private:
  template <int kDeep, int kWide, typename Also>
  __device__ void multiply(float (&sums)[kWide][4], const float (&weights)[kDeep][4], const Rows& tile,
                           const Also& also) const {
    using T = typename Precision::Element;
    constexpr int kParts = Precision::kParts, kFragments = Columns<Rows>::kFragments,
                  kStep = 4 / static_cast<int>(sizeof(T));
#pragma unroll
    for (int i = 0; i < kDeep; i += kStep) {
      uint32_t raw[4], left[kParts][4];
      as_left(raw, weights + i, T{});
      split<Precision>(left, raw);
      also(left);
#pragma unroll
      for (int j = 0; j < kWide; j += kFragments) {
        if (kParts > 1 && kWide >= 16) __syncwarp();  // else the compiler reads on until registers spill
        uint32_t some[kFragments][2];
        columns_(some, tile, i * 8, j);
#pragma unroll
        for (int each = 0; each < kFragments; ++each) {
          uint32_t right[kParts][2];
          split_of_tile<Precision, kRounded>(right, some[each]);
          Precision::multiply(sums[j + each], left, right);
        }
      }
    }
  }

  Columns<Rows> columns_;
};

// Sums times factor into a tile: this lane's are of row `row` and of the one `apart` below it. kFours: as columns lie
// that came four at once.
template <bool kFours, int kWide, typename Rows>
__device__ void put_sums(const Rows& to, int row, int apart, const float (&sums)[kWide][4], const float (&factor)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int at = row + half * apart;
    const auto sum = [&](int j, int odd) { return factor[half] * sums[j][half * 2 + odd]; };
    if constexpr (kFours) {
#pragma unroll
      for (int j = 0; j < kWide; j += 4)
#pragma unroll
        for (int odd = 0; odd < 2; ++odd)
          store_vector(to.element(at, j * 8 + (fragment_column() + odd) * 4),
                       float4{sum(j, odd), sum(j + 1, odd), sum(j + 2, odd), sum(j + 3, odd)});
    } else {
#pragma unroll
      for (int j = 0; j < kWide; ++j) store_pair(to.element(at, j * 8 + fragment_column()), sum(j, 0), sum(j, 1));
    }
  }
}
// As ProductOfColumns of such a tile leaves them, from `row` on of the tile.
template <int kWide, typename Rows>
__device__ void put_sums(const Rows& to, int row, const float (&sums)[kWide][4], const float (&factor)[2]) {
  put_sums<kFoursOfColumns<Rows>>(to, row + fragment_row(), 8, sums, factor);
}

// Over the four lanes that share rows of sums.
__device__ inline float sum_of_row(float x) {
  x += __shfl_xor_sync(0xFFFFFFFF, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFF, x, 2);
}
__device__ inline float largest_of_row(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFF, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFF, x, 2));
}

// Scores of keys that are not there count for nothing; `keys` are.
template <int kWide>
__device__ void hide_missing(float (&scores)[kWide][4], int keys) {
  if (keys >= kWide * 8) return;
#pragma unroll
  for (int j = 0; j < kWide; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (j * 8 + fragment_column() + i % 2 >= keys) scores[j][i] = -INFINITY;
}

// Calls run.operator()<Precision>() with what multiplies tensors of this dtype.
template <typename F>
void for_precision(const char* operation, Dtype dtype, bool tf32, F&& run) {
  if (dtype == Dtype::bf16) return run.template operator()<Bf16>();
  check(dtype == Dtype::f32, "{}: computes in f32 and bf16 on cuda, got {}", operation, name_of(dtype));
  tf32 ? run.template operator()<Tf32>() : run.template operator()<F32>();
}

}  // namespace stipple::cuda
