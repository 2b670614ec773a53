#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

// The register tile of gemm.cpp with its sums in double: a product of two floats is exact there, so what is left of
// rounding is that of the result.
//
// Idea    a third of the rows at a time, so that the sums fit the registers; each vector of floats is widened to two
//         of doubles, B's once a step for these rows, A's elements as they are broadcast.
// Costs   twice the multiply-adds. Small problems take it (gemm_panels.h), where nobody waits for them.

namespace stipple::simd::STIPPLE_SIMD {

inline constexpr int kRowsAtOnce = (kGemmRows + 2) / 3;

// sums [row][column] of kRowsAtOnce rows and `Vectors` halves; rows beyond `rows` repeat the last.
template <int Vectors>
static void sum_in_double(double* sums, const GemmTile& t, int64_t first) {
  DoubleVec sum[kRowsAtOnce][Vectors] = {};
  const float* row_start[kRowsAtOnce];
  for (int row = 0; row < kRowsAtOnce; ++row)
    row_start[row] = t.a + (first + row < t.rows ? first + row : t.rows - 1) * t.a_row;
  for (int64_t run = 0; run < t.runs; ++run) {
    const float* b = t.b + t.b_runs[run];
    const int64_t a_run = t.a_runs[run];
    for (int64_t k = 0; k < t.steps; ++k, b += t.b_step) {
      DoubleVec right[Vectors];
      for (int v = 0; v < Vectors; ++v) right[v] = load_wide(b + v * kHalf);
#pragma GCC unroll 5
      for (int row = 0; row < kRowsAtOnce; ++row) {
        const DoubleVec left = (double)row_start[row][a_run + k * t.a_step] - DoubleVec{};
        for (int v = 0; v < Vectors; ++v) sum[row][v] += left * right[v];
      }
    }
  }
  __builtin_memcpy(sums, sum, sizeof sum);
}

template <int Vectors>
static void tile_in_double(const GemmTile& t) {
  constexpr int kPitch = Vectors * kHalf;
  for (int64_t first = 0; first < t.rows; first += kRowsAtOnce) {
    double sums[kRowsAtOnce * kPitch];
    sum_in_double<Vectors>(sums, t, first);
    const int64_t rows = t.rows - first < kRowsAtOnce ? t.rows - first : kRowsAtOnce;
    for (int64_t row = 0; row < rows; ++row) {
      const double* from = sums + row * kPitch;
      const float* start = t.start ? t.start + (first + row) * t.start_row : nullptr;
      float* c = t.c + (first + row) * t.c_row;
      for (int64_t i = 0; i < t.columns; ++i) c[i] = (float)(start ? start[i] + from[i] : from[i]);
    }
  }
}

void gemm_tile_in_double(const GemmTile& t) {
  if (t.columns > kLanes)
    tile_in_double<4>(t);
  else
    tile_in_double<2>(t);
}

}  // namespace stipple::simd::STIPPLE_SIMD
