#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

// The register tile of every matrix product and convolution: rows x vectors sums stay in registers while a column of A
// is broadcast against a row of B, step by step.
//
// Idea    14 x 2 vectors where there are 32 registers, 6 x 2 where there are 16: enough independent sums to hide the
//         latency of the multiply-adds, and fewer loads (14 + 2) than multiply-adds (28). Strides of A are free, so A
//         is never packed: pixels, overlapping windows of an image and transposed matrices are read where they lie.
// Costs   a pointer for every third row (base, base + row, base + 2 row are addressing modes): five additions a step.
// Seen    231 GFLOP/s on one core of a Zen 5 server from L1, of about 240.
// Tried   a compile-time row pitch: as fast, but the rows must be copied there first. 6x4 and 8x3 vectors: no faster.
//         Sums that pass through an array for tiles of odd widths: 380 cycles a tile, as much as 32 steps. Hence the
//         part that is computed aside and copied.

namespace stipple::simd::STIPPLE_SIMD {

// 0, 1, ..., n - 1 as template arguments, without the standard library.
template <int... Row>
struct Rows {};
template <int N, int... Row>
struct CountRows : CountRows<N - 1, N - 1, Row...> {};
template <int... Row>
struct CountRows<0, Row...> : Rows<Row...> {};

// c = start + sums, where the last vector of a row is not whole.
static void finish_part(const GemmTile& t, const float* sums, int64_t pitch) {
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t i = 0; i < t.columns; i += kLanes) {
      const int64_t n = t.columns - i;
      const Vec start = t.start ? load_first(t.start + row * t.start_row + i, n) : Vec{};
      store_first(t.c + row * t.c_row + i, start + load(sums + row * pitch + i), n);
    }
}

// In the three functions below all loops over rows and vectors are unrolled, so that the sums stay in registers.
template <int Rows, int Vectors>
[[gnu::always_inline]] static inline void accumulate(Vec (&sums)[Rows][Vectors], const GemmTile& t) {
  constexpr int kGroups = (Rows + 2) / 3;
  const int64_t a_row = t.a_row, a_step = t.a_step, b_step = t.b_step;
  for (int64_t run = 0; run < t.runs; ++run) {
    const float* b = t.b + t.b_runs[run];
    const float* a[kGroups];
    for (int g = 0; g < kGroups; ++g) a[g] = t.a + t.a_runs[run] + 3 * g * a_row;
    for (int64_t k = 0; k < t.steps; ++k, b += b_step) {
      Vec right[Vectors];
      for (int v = 0; v < Vectors; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 14
      for (int row = 0; row < Rows; ++row) {
        const Vec left = splat(a[row / 3][row % 3 * a_row]);
        for (int v = 0; v < Vectors; ++v) sums[row][v] += left * right[v];
      }
      for (int g = 0; g < kGroups; ++g) a[g] += a_step;
    }
  }
}

// c = start + sums in whole vectors.
template <int Rows, int Vectors>
[[gnu::always_inline]] static inline void finish(float* c, int64_t c_row, const float* start, int64_t start_row,
                                                 Vec (&sums)[Rows][Vectors]) {
  if (start)
#pragma GCC unroll 14
    for (int row = 0; row < Rows; ++row)
      for (int v = 0; v < Vectors; ++v) sums[row][v] += load(start + row * start_row + v * kLanes);
#pragma GCC unroll 14
  for (int row = 0; row < Rows; ++row)
    for (int v = 0; v < Vectors; ++v) store(c + row * c_row + v * kLanes, sums[row][v]);
}

template <int Rows, int Vectors>
static void tile(const GemmTile& t) {
  constexpr int kColumns = Vectors * kLanes;
  Vec sums[Rows][Vectors];
#pragma GCC unroll 14
  for (int row = 0; row < Rows; ++row)
    for (int v = 0; v < Vectors; ++v) sums[row][v] = Vec{};
  accumulate(sums, t);
  float part[Rows * kColumns];
  const bool whole = t.columns == kColumns;
  finish(whole ? t.c : part, whole ? t.c_row : kColumns, whole ? t.start : nullptr, t.start_row, sums);
  if (!whole) finish_part(t, part, kColumns);
}

// The tiles of 1, 2, ..., kGemmRows rows.
template <int Vectors, int... Row>
static void run_tile(const GemmTile& t, Rows<Row...>) {
  static constexpr void (*tiles[])(const GemmTile&) = {tile<Row + 1, Vectors>...};
  tiles[t.rows - 1](t);
}

void gemm_tile(const GemmTile& t) {
  if (t.columns > kLanes)
    run_tile<2>(t, CountRows<kGemmRows>());
  else
    run_tile<1>(t, CountRows<kGemmRows>());
}

void column_sums(double* sums, const float* a, int64_t rows, int64_t columns) {
  constexpr int64_t kRun = 8;  // rows that meet in f32
  for (int64_t c = 0; c < columns; c += kLanes) {
    const int64_t n = columns - c;
    for (int64_t first = 0; first < rows; first += kRun) {
      Vec sum{};
      for (int64_t r = first; r < first + kRun && r < rows; ++r) sum += load_first(a + r * columns + c, n);
      add_in_double(sums + c, sum, n);
    }
  }
}

}  // namespace stipple::simd::STIPPLE_SIMD
