#pragma once
#include <stdint.h>

// The f32 inner loops of the CPU kernels, compiled once an instruction set (x86-64-v4, x86-64-v3, baseline; see vector.h)
// and chosen when the program starts. They are sequential: threads belong to the callers in kernels/cpu/.
// STIPPLE_SIMD=baseline|v3|v4 in the environment picks a lower one than the machine has.

namespace stipple::simd {

// What group_norm does to a column of a matrix: z = scale (x - mean) + bias, and backward dx = scale dz - pull - slope (x - mean).
// One value a column.
struct NormColumns {
  const float *mean, *scale, *bias;
  const float *pull = nullptr, *slope = nullptr;  // normalize_backward only
};

// One register tile of a matrix product, C = start + sum over runs and steps of A[rows, step] B[step, columns]. A run is a
// stretch of steps at constant strides; runs let the sum walk over the rows of a filter, or of an image. Strides and
// offsets count floats. B is read in whole vectors, up to lanes - 1 floats beyond its columns.
struct GemmTile {
  int64_t rows, columns;  // 1 to Table::gemm_rows, gemm_columns
  float* c;
  int64_t c_row;
  const float* start;  // may be c; null: zeros
  int64_t start_row;
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_step;
  int64_t steps, runs;
  const int64_t *a_runs, *b_runs;  // where each run starts, from a and b
};

struct Table {
  const char* name;
  int lanes;

  // y[i] = x[i] sigmoid(x[i]), and dx[i] = dy[i] silu'(x[i])
  void (*silu)(float* y, const float* x, int64_t n);
  void (*silu_backward)(float* dx, const float* dy, const float* x, int64_t n);

  int gemm_rows, gemm_columns;
  void (*gemm_tile)(const GemmTile&);
  // sums[c] += sum over rows of a[row, c]
  void (*column_sums)(float* sums, const float* a, int64_t rows, int64_t columns);

  // Over the columns of a [rows, columns] matrix, for group norm:
  // sum += x - shift, squares += (x - shift)^2
  void (*column_moments)(double* sum, double* squares, const float* x, const float* shift, int64_t rows, int64_t columns);
  // y = z, or silu(z)
  void (*normalize)(float* y, const float* x, const NormColumns&, int64_t rows, int64_t columns, bool silu);
  // With dz = dy, or dy silu'(z): sums dz += dz, dz_x += dz (x - mean)
  void (*normalize_sums)(double* dz, double* dz_x, const float* dy, const float* x, const NormColumns&, int64_t rows,
                         int64_t columns, bool silu);
  void (*normalize_backward)(float* dx, const float* dy, const float* x, const NormColumns&, int64_t rows,
                             int64_t columns, bool silu);

  // to[c, r] = scale from[r, c]
  void (*transpose)(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows, int64_t columns,
                    float scale);
  // For attention, over the columns of a matrix (a column is a query, a row a key; columns fill whole vectors; logarithms
  // and exponentials are to base 2). The next rows of a softmax, where `largest` and `total` belong to the rows before:
  // both are brought up to date, s becomes 2^(s - largest), and what was summed before is to be multiplied by `rescale`.
  void (*softmax_columns)(float* s, float* largest, float* total, float* rescale, int64_t rows, int64_t columns,
                          int64_t row);
  // s becomes p = 2^(s - lse), and dp becomes p (dp - delta).
  void (*softmax_columns_backward)(float* s, float* dp, const float* lse, const float* delta, int64_t rows,
                                   int64_t columns, int64_t row);
  void (*scale_columns)(float* x, const float* factor, int64_t rows, int64_t columns, int64_t row);
};

const Table& table();

}  // namespace stipple::simd
