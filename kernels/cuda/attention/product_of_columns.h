#pragma once
#include "kernels/cuda/attention/product.h"

// Products down a tile's columns, its rows being the depth: P v, dS k and the like. There the tile is
//   bf16  the right operand: ldmatrix transposes.
//   f32   the left one, and sums come out transposed. Two neighbours of a row, read at once, are then two registers
//         side by side of a left fragment; in a right one a lane's two numbers are of two rows, and would have to be
//         moved to lie side by side. Which column is which row of a fragment is ours to choose: row g is column 2g, row
//         g + 8 the next; where numbers are taken apart and so moved anyway, four neighbours are read at once, and of
//         two fragments of 32 columns one has 4g and 4g + 1, the other the next two. Rows of 8 columns are half a
//         fragment: right operand, one by one.

namespace stipple::cuda {

// Whether sums of products down a tile's columns come out transposed: of sums[j] a lane then has rows 8 (j % 2) + 2q
// and the next; else they are as mma.sync leaves them.
template <typename Rows>
inline constexpr bool kTransposed = std::is_same_v<typename Rows::T, float>&& Rows::kWidth >= 16;

// Sums of 16 rows as the left operand of a product: 16 columns of bf16, two fragments, in their order.
__device__ inline void as_left(uint32_t (&raw)[4], const float (*sums)[4], __nv_bfloat16) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
    std::memcpy(&raw[i], &pair, sizeof pair);
  }
}
// 8 columns of f32: even ones, then odd ones. Their order is free as long as the other operand has the same.
__device__ inline void as_left(uint32_t (&raw)[4], const float (*sums)[4], float) {
#pragma unroll
  for (int i = 0; i < 4; ++i) raw[i] = __float_as_uint(sums[0][i % 2 * 2 + i / 2]);
}

// The right operand from a tile whose rows are the depth, kFragments at once: 32 bytes of depth from `row` on.
template <typename Rows>
class RightColumns {
 public:
  static constexpr bool kBf16 = Rows::kLength == 8;
  static constexpr int kFragments = kBf16 ? 2 : 1;

  __device__ RightColumns() : own_(first()) {}
  __device__ void operator()(uint32_t (&to)[kFragments][2], const Rows& tile, int row, int fragment) const {
    if constexpr (kBf16) {
      uint32_t raw[4];
      ptx::ldmatrix_x4_trans(raw, own_(tile, row, fragment));
      to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) to[0][i] = *reinterpret_cast<const uint32_t*>(own_(tile, row + i, fragment * 2));
    }
  }

 private:
  __device__ static OwnChunk<Rows> first() {
    if constexpr (kBf16) return {lane() % 16, lane() / 16};
    return {fragment_column(), fragment_row() / 4, fragment_row() % 4 * 4};
  }

  OwnChunk<Rows> own_;
};

// The left operand from such a tile of f32: kFragments of 16 columns at once, with the same 8 rows of depth.
template <typename Precision, typename Rows>
class LeftColumns {
 public:
  static constexpr int kFragments = Precision::kParts > 1 ? 2 : 1, kColumns = 16 * kFragments;
  static constexpr int kNeighbours = 2 * kFragments;  // that a lane has of a row

  __device__ LeftColumns() : own_(fragment_column(), column() / Rows::kLength, column() % Rows::kLength * 4) {}
  __device__ static int column() { return fragment_row() * kNeighbours; }  // the first of them
  __device__ void operator()(uint32_t (&to)[kFragments][4], const Rows& tile, int row, int first_column) const {
    using Vector = std::conditional_t<kFragments == 2, uint4, uint2>;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto vector = load_vector<Vector>(own_(tile, row + i, first_column / Rows::kLength));
      uint32_t neighbours[kNeighbours];
      std::memcpy(neighbours, &vector, sizeof vector);
#pragma unroll
      for (int j = 0; j < kNeighbours; ++j) to[j / 2][i * 2 + j % 2] = neighbours[j];
    }
  }

 private:
  OwnChunk<Rows> own_;
};

// sums += weights, kStrips times 16 x 8 kDeep as sums lie, times the columns of a tile's 8 kDeep rows.
template <typename Precision, typename Rows>
class ProductOfColumns {
  using Left = LeftColumns<Precision, Rows>;
  static constexpr int kParts = Precision::kParts;

 public:
  template <int kStrips, int kDeep, int kWide>
  __device__ void operator()(float (&sums)[kStrips][kWide][4], const float (&weights)[kStrips][kDeep][4],
                             const Rows& tile) const {
    multiply(sums, weights, tile, [](const auto&) {});
  }
  // Also row_sums += weights, times ones (total_of_row).
  template <int kStrips, int kDeep, int kWide>
  __device__ void operator()(float (&sums)[kStrips][kWide][4], const float (&weights)[kStrips][kDeep][4],
                             const Rows& tile, float (&row_sums)[kStrips][4]) const {
    multiply(sums, weights, tile, [&](const auto& parts) { add_rows(row_sums, parts); });
  }
  // Of row g of the weights, or g + 8.
  __device__ static float total_of_row(const float (&row_sums)[4], int half) {
    return kTransposed<Rows> ? row_sums[half] + row_sums[half + 2] : row_sums[half * 2];
  }

  // Weights of one step of depth, 32 bytes of the tile's element, as they are multiplied.
  static constexpr int kWideOfStep = 4 / static_cast<int>(sizeof(typename Precision::Element));
  __device__ static void as_operand(uint32_t (&parts)[kParts][4], const float (*weights)[4]) {
    uint32_t raw[4];
    if constexpr (kTransposed<Rows>)
      std::memcpy(raw, weights[0], sizeof raw);
    else
      as_left(raw, weights, typename Precision::Element{});
    split<Precision>(parts, raw);
  }
  // sums += those of kSteps steps, times the columns of the tile's rows from `row` on.
  template <int kSteps, int kStrips, int kWide>
  __device__ void add_steps(float (&sums)[kStrips][kWide][4], const uint32_t (&weights)[kSteps][kStrips][kParts][4],
                            const Rows& tile, int row) const {
    if constexpr (kTransposed<Rows>)
      multiply_left(sums, weights, tile, row);
    else
      multiply_right(sums, weights, tile, row);
  }

 private:
  static constexpr bool kApart = kParts > 1;
  static constexpr int kStepsApart = 4;

  template <int kStrips, int kDeep, int kWide, typename Also>
  __device__ void multiply(float (&sums)[kStrips][kWide][4], const float (&weights)[kStrips][kDeep][4],
                           const Rows& tile, const Also& also) const {
    constexpr int kSteps = kApart ? (kStepsApart < kDeep ? kStepsApart : kDeep) : 1;
#pragma unroll
    for (int i = 0; i < kDeep; i += kSteps * kWideOfStep) {
      uint32_t parts[kSteps][kStrips][kParts][4];
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip)
          as_operand(parts[step][strip], weights[strip] + i + step * kWideOfStep);
        also(parts[step]);
      }
      add_steps(sums, parts, tile, i * 8);
    }
  }

  template <int kSteps, int kStrips, int kWide>
  __device__ void multiply_right(float (&sums)[kStrips][kWide][4], const uint32_t (&left)[kSteps][kStrips][kParts][4],
                                 const Rows& tile, int row) const {
    constexpr int kFragments = RightColumns<Rows>::kFragments;
#pragma unroll
    for (int j = 0; j < kWide; j += kFragments) {
      SumsApart<Precision, kStrips, kFragments, kWide> to(sums, j);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t some[kFragments][2];
        columns_(some, tile, row + step * kWideOfStep * 8, j);
#pragma unroll
        for (int each = 0; each < kFragments; ++each) {
          uint32_t right[kParts][2];
          split_of_tile<Precision>(right, some[each]);
#pragma unroll
          for (int strip = 0; strip < kStrips; ++strip)
            Precision::multiply(to.sum(strip, each), left[step][strip], right);
        }
      }
      to.add();
    }
  }

  // The weights' first eight rows are one right operand, the last eight the other.
  template <int kSteps, int kStrips, int kWide>
  __device__ void multiply_left(float (&sums)[kStrips][kWide][4], const uint32_t (&right)[kSteps][kStrips][kParts][4],
                                const Rows& tile, int row) const {
    constexpr int kFragments = Left::kFragments;
#pragma unroll
    for (int j = 0; j < kWide; j += kFragments * 2) {
      SumsApart<Precision, kStrips, kFragments * 2, kWide> to(sums, j);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        // Else the compiler reads on until registers spill.
        if (kApart && (step == 0 ? kStrips * kWide >= 16 : kWide >= 16)) __syncwarp();
        uint32_t raw[kFragments][4];
        columns_(raw, tile, row + step * 8, j * 8);
#pragma unroll
        for (int each = 0; each < kFragments; ++each) {
          uint32_t left[kParts][4];
          split_of_tile<Precision>(left, raw[each]);
#pragma unroll
          for (int i = 0; i < kStrips * 2; ++i) {
            uint32_t half[kParts][2];
#pragma unroll
            for (int part = 0; part < kParts; ++part)
              std::memcpy(half[part], right[step][i / 2][part] + i % 2 * 2, sizeof half[part]);
            Precision::multiply(to.sum(i / 2, each * 2 + i % 2), left, half);
          }
        }
      }
      to.add();
    }
  }

  // Transposed, the registers of two right operands are those of one left: its row g is of even depth, g + 8 of odd,
  // and of depth q is row g of the weights, of q + 4 row g + 8. So ones go to even columns for the one, to odd for the
  // other.
  template <int kStrips>
  __device__ static void add_rows(float (&sums)[kStrips][4], const uint32_t (&parts)[kStrips][kParts][4]) {
    using Part = std::conditional_t<std::is_same_v<Precision, Bf16>, Bf16, Tf32>;
    constexpr uint32_t kOne = std::is_same_v<Precision, Bf16> ? 0x3F803F80 : 0x3F800000;
    const bool odd = kTransposed<Rows> && fragment_row() % 2, even = kTransposed<Rows> && !odd;
    const uint32_t ones[1][2] = {{odd ? 0 : kOne, even ? 0 : kOne}};
#pragma unroll
    for (int i = 0; i < kStrips * kParts; ++i) {
      uint32_t left[1][4];
      std::memcpy(left, parts[i / kParts][i % kParts], sizeof left);
      Part::multiply(sums[i / kParts], left, ones);
    }
  }

  std::conditional_t<kTransposed<Rows>, Left, RightColumns<Rows>> columns_;
};

// What each row of sums is multiplied with, where a lane has given[0] of row g, given[1] of row g + 8.
template <bool kOfTransposed>
class RowFactors {
 public:
  __device__ explicit RowFactors(const float (&given)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int odd = 0; odd < 2; ++odd)
        factors_[half][odd] =
            kOfTransposed ? __shfl_sync(0xFFFFFFFF, given[half], (fragment_column() + odd) * 4) : given[half];
  }
  __device__ float of(int j, int i) const { return kOfTransposed ? factors_[j % 2][i % 2] : factors_[i / 2][0]; }

 private:
  float factors_[2][2];
};

// Sums as ProductOfColumns of such a tile leaves them, times factors of their rows, into it from `row` on.
template <typename Precision, int kWide, typename Rows>
__device__ void put_sums(const Rows& to, int row, const float (&sums)[kWide][4], const float (&factor)[2]) {
  const RowFactors<kTransposed<Rows>> factors(factor);
  const auto sum = [&](int j, int i) { return sums[j][i] * factors.of(j, i); };
#pragma unroll
  for (int i = 0; i < 2; ++i)
    if constexpr (kTransposed<Rows>) {
      using Left = LeftColumns<Precision, Rows>;
#pragma unroll
      for (int j = 0; j < kWide; j += 2 * Left::kFragments)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float* const at = to.element(row + half * 8 + fragment_column() + i, j * 8 + Left::column());
          if constexpr (Left::kFragments == 2)
            store_vector(
                at, float4{sum(j + half, i), sum(j + half, i + 2), sum(j + half + 2, i), sum(j + half + 2, i + 2)});
          else
            store_pair(at, sum(j + half, i), sum(j + half, i + 2));
        }
    } else {
#pragma unroll
      for (int j = 0; j < kWide; ++j)
        store_pair(to.element(row + i * 8 + fragment_row(), j * 8 + fragment_column()), sum(j, i * 2),
                   sum(j, i * 2 + 1));
    }
}

}  // namespace stipple::cuda
