#pragma once
#include <cstring>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/tensor_core.h"

// Tiles of tokens in shared memory, and how tensor cores multiply them.
//
// A token's row is kWidth elements, zeros behind the head's own. It is chunks of 16 bytes, and lies in lines of 128
// bytes, all banks wide: a long row is several lines, several short ones share one. Within its line, a chunk's place is
// turned by row or line i: place ^ i ^ 2i. So all of these meet no bank twice: eight rows' chunks of one column
// (ldmatrix), two neighbouring chunks of rows 0 to 3, of rows 4 to 7, and of rows 0, 2, 4 and 6 (f32 by columns), and
// whole lines (copies).

namespace stipple::cuda {

inline constexpr int kChunkBytes = 16;

template <typename T>
inline constexpr int kChunkLength = kChunkBytes / static_cast<int>(sizeof(T));

template <typename Element, int kRowWidth>
struct Tile {
  using T = Element;
  static constexpr int kWidth = kRowWidth, kLength = kChunkLength<T>, kChunks = kWidth / kLength;
  static constexpr int kRowBytes = kChunks * kChunkBytes, kRowsALine = kRowBytes < 128 ? 128 / kRowBytes : 1;
  static constexpr int kSteps = kRowBytes / 32;  // of a product along rows

  std::byte* at;

  __device__ std::byte* chunk(int row, int number) const {
    const int line = row / kRowsALine;
    return at + ((row * kChunks + number) ^ ((line ^ line * 2) % 8)) * kChunkBytes;
  }
  __device__ T* element(int row, int column) const {
    return reinterpret_cast<T*>(chunk(row, column / kLength)) + column % kLength;
  }
  // The columns from there on, a whole number of lines.
  __device__ Tile from_column(int column) const { return {at + column * sizeof(T)}; }
};

// The rows of one head of one image in q, k, v or y: `width` elements every `stride`.
template <typename T>
struct HeadRows {
  T* first;
  int tokens, width, stride;

  __device__ HeadRows(T* tensor, int head, int heads, int token_count, int head_width)
      : tokens(token_count), width(head_width), stride(heads * head_width) {
    first = tensor + (int64_t{head / heads} * tokens * heads + head % heads) * width;
  }
  __device__ HeadRows(T* start, int token_count, int row_width, int row_stride)
      : first(start), tokens(token_count), width(row_width), stride(row_stride) {}
  __device__ T* row(int token) const { return first + int64_t{token} * stride; }
  __device__ HeadRows from_column(int column) const { return {first + column, tokens, width - column, stride}; }
  // Whether rows come in whole chunks of 16 bytes.
  __device__ bool whole() const { return width % kChunkLength<T> == 0; }
};

// Starts copies of kRows tokens from `token` on by all kThreads threads; what is outside becomes zero.
template <int kRows, int kThreads, typename Rows, typename T>
__device__ void fetch(const Rows& to, const HeadRows<const T>& from, int token) {
  const bool whole = from.whole();
#pragma unroll 1  // nobody waits for a copy here, and sums need the registers
  for (int i = threadIdx.x; i < kRows * Rows::kChunks; i += kThreads) {
    const int row = i / Rows::kChunks, chunk = i % Rows::kChunks, column = chunk * Rows::kLength;
    const int inside = token + row < from.tokens ? from.width - column : 0;  // elements from here on
    const T* source = from.row(token + row) + column;
    if (whole) {
      ptx::cp_async<kChunkBytes>(to.chunk(row, chunk), inside > 0 ? source : from.first, inside > 0 ? kChunkBytes : 0);
    } else {
      for (int j = 0; j < Rows::kLength; ++j) to.element(row, column)[j] = j < inside ? source[j] : T(0.f);
    }
  }
}

// Columns from `column` on of kRows tokens, back to memory; kColumns of them lie at the same place in the tile.
template <int kRows, int kColumns, int kThreads, typename Rows, typename T>
__device__ void store(const HeadRows<T>& to, const Rows& from, int token, int column) {
  constexpr int kAcross = kColumns / Rows::kLength;
  const bool whole = to.whole();
#pragma unroll
  for (int i = threadIdx.x; i < kRows * kAcross; i += kThreads) {
    const int row = i / kAcross, first = column + i % kAcross * Rows::kLength;
    if (token + row >= to.tokens || first >= to.width) continue;
    T* target = to.row(token + row) + first;
    const T* source = from.element(row, first);
    if (whole)
      store_vector(target, load_vector<uint4>(source));
    else
      for (int j = 0; j < Rows::kLength && first + j < to.width; ++j) target[j] = source[j];
  }
}

// sums[j] += rows `row` to `row` + 15 of a times rows 8 j to 8 j + 7 of b: products along rows.
template <typename Precision, int kWide, typename Rows>
__device__ void multiply_rows(float (&sums)[kWide][4], const Rows& a, int row, const Rows& b) {
#pragma unroll 2
  for (int step = 0; step < Rows::kSteps; ++step) {
    uint32_t raw[4], left[Precision::kParts][4];
    ptx::ldmatrix_x4(raw, a.chunk(row + lane() % 16, step * 2 + lane() / 16));
    split<Precision>(left, raw);
#pragma unroll
    for (int j = 0; j < kWide; j += 2) {
      ptx::ldmatrix_x4(raw, b.chunk(j * 8 + lane() / 16 * 8 + lane() % 8, step * 2 + lane() / 8 % 2));
      uint32_t even[Precision::kParts][2], odd[Precision::kParts][2];
      split<Precision>(even, {raw[0], raw[1]});
      split<Precision>(odd, {raw[2], raw[3]});
      Precision::multiply(sums[j], left, even);
      Precision::multiply(sums[j + 1], left, odd);
    }
  }
}

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

// The right operand from a tile whose rows are the depth: 32 bytes of depth from `row` on; of bf16, two fragments.
template <int kWidth>
__device__ void read_columns(uint32_t (&to)[2][2], const Tile<__nv_bfloat16, kWidth>& tile, int row, int column) {
  uint32_t raw[4];
  ptx::ldmatrix_x4_trans(raw, tile.chunk(row + lane() % 16, column / 8 + lane() / 16));
  to[0][0] = raw[0], to[0][1] = raw[1], to[1][0] = raw[2], to[1][1] = raw[3];
}
template <int kWidth>
__device__ void read_columns(uint32_t (&to)[1][2], const Tile<float, kWidth>& tile, int row, int column) {
  for (int i = 0; i < 2; ++i)
    to[0][i] = __float_as_uint(*tile.element(row + fragment_column() + i, column + fragment_row()));
}

// sums += weights, 16 x 8 kDeep as sums lie, times columns of the tile's 8 kDeep rows.
template <typename Precision, int kDeep, int kWide, typename Rows>
__device__ void mix_rows(float (&sums)[kWide][4], const float (&weights)[kDeep][4], const Rows& tile) {
  using T = typename Precision::Element;
  constexpr int kFragments = 4 / static_cast<int>(sizeof(T));  // of bf16, two at a time in both directions
#pragma unroll
  for (int i = 0; i < kDeep; i += kFragments) {
    uint32_t raw[4], left[Precision::kParts][4];
    as_left(raw, weights + i, T{});
    split<Precision>(left, raw);
#pragma unroll
    for (int j = 0; j < kWide; j += kFragments) {
      uint32_t columns[kFragments][2];
      read_columns(columns, tile, i * 8, j * 8);
#pragma unroll
      for (int each = 0; each < kFragments; ++each) {
        uint32_t right[Precision::kParts][2];
        split<Precision>(right, columns[each]);
        Precision::multiply(sums[j + each], left, right);
      }
    }
  }
}

// Sums of 16 rows times factor, from `row` on of the tile.
template <int kWide, typename Rows>
__device__ void put_sums(const Rows& to, int row, const float (&sums)[kWide][4], const float (&factor)[2]) {
#pragma unroll
  for (int j = 0; j < kWide; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      store_pair(to.element(row + half * 8 + fragment_row(), j * 8 + fragment_column()),
                 factor[half] * sums[j][half * 2], factor[half] * sums[j][half * 2 + 1]);
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
