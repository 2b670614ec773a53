#pragma once
#include <stdint.h>

// The f32 inner loops of the CPU kernels, compiled once an instruction set (x86-64-v4, x86-64-v3, baseline; see
// vector.h) and chosen when the program starts. They are sequential: threads belong to the callers in kernels/cpu/.
// STIPPLE_SIMD=baseline|v3|v4 in the environment picks a lower one than the machine has.

namespace stipple::simd {

// What group_norm does to a column of a matrix: z = scale (x - mean) + bias, and backward dx = scale dz - pull - slope
// (x - mean). One value a column.
template <typename Real>
struct NormColumns {
  const Real *mean, *scale, *bias;
  const Real *pull = nullptr, *slope = nullptr;  // `backward` only
};

// Over the columns of [rows, columns] matrices, computed in Real. x and dx lie side by side, rows of y and dy `step`
// floats apart: they may be columns of a wider matrix.
template <typename Real>
struct GroupNormLoops {
  // sum += x - shift, squares += (x - shift)^2
  void (*moments)(double* sum, double* squares, const float* x, const Real* shift, int64_t rows, int64_t columns);
  // y = z, or silu(z)
  void (*forward)(float* y, int64_t step, const float* x, const NormColumns<Real>&, int64_t rows, int64_t columns,
                  bool silu);
  // With dz = dy, or dy silu'(z): sums dz += dz, dz_x += dz (x - mean)
  void (*sums)(double* dz, double* dz_x, const float* dy, int64_t step, const float* x, const NormColumns<Real>&,
               int64_t rows, int64_t columns, bool silu);
  void (*backward)(float* dx, const float* dy, int64_t step, const float* x, const NormColumns<Real>&, int64_t rows,
                   int64_t columns, bool silu);
};

// One register tile of a matrix product, C = start + sum over runs and steps of A[rows, step] B[step, columns]. A run
// is a stretch of steps at constant strides; runs let the sum walk over the rows of a filter, or of an image. Strides
// and offsets count floats. B is read in whole vectors, up to lanes - 1 floats beyond its columns.
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

// A square of pixels of an image, of which only rows [row, row_end) and columns [column, column_end) exist; the others
// are zeros to read and are not written. Steps count floats from one pixel to the next.
struct ImagePatch {
  const float* pixels;  // the square's first, which need not exist
  int64_t row_step, column_step, channels;
  int64_t row, row_end, column, column_end;
};

// A tile of keys against queries, for heads Table::narrow channels wide: logits and exponentials are to base 2.
struct NarrowTile {
  const float *k, *v;  // [keys, narrow], rows `row` apart
  int64_t row, keys;
  const float* q;          // [blocks, narrow, block]: every block of queries transposed
  int64_t block, queries;  // whole vectors of queries, zeros at the end
};

// The constants of one step of Adam, from kernels/adamw.h.
template <typename T>
struct AdamStep {
  T gradient_scale;
  T l2, keep;                    // weight decay: in the gradient, and what it leaves of the parameters
  T rest1, beta2, rest2;         // rest = 1 - beta
  T step_size, root_correction;  // lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step)
  T eps;
  T ema_rest;  // 1 - decay
};

inline constexpr int kWidestVector = 16;  // floats

struct Table {
  const char* name;
  int lanes;

  // Nothing but multiply-adds of whole vectors, in enough chains to hide their latency: what the machine computes at
  // most. Returns how many FLOP those were; `keep` [kWidestVector] is read and written, so that none is left out.
  int64_t (*multiply_adds)(float* keep, int64_t steps);

  // y[i] = x[i] sigmoid(x[i]), and dx[i] = dy[i] silu'(x[i])
  void (*silu)(float* y, const float* x, int64_t n);
  void (*silu_backward)(float* dx, const float* dy, const float* x, int64_t n);

  int gemm_rows, gemm_columns;
  void (*gemm_tile)(const GemmTile&);
  void (*gemm_tile_in_double)(const GemmTile&);  // the same, its sums in double
  // sums[c] += sum over rows of a[row, c]
  void (*column_sums)(double* sums, const float* a, int64_t rows, int64_t columns);

  // Winograd's F(4x4, 3x3), see conv2d_winograd.h. 36 planes lie `plane` floats apart; rows of planes hold whole
  // vectors.
  void (*winograd_input)(float* v, int64_t plane, const ImagePatch& x);             // v = B^T x B, 6x6
  void (*winograd_output_gradient)(float* v, int64_t plane, const ImagePatch& dy);  // v = A dy A^T, dy 4x4
  // y = A^T m A + bias, 4x4 pixels at y of which `to` says how far they lie apart and how many exist
  void (*winograd_output)(float* y, const ImagePatch& to, const float* m, int64_t plane, const float* bias);
  // u = G g G^T for filters g of 3x3 taps, one a column
  void (*winograd_weight)(float* u, int64_t plane, const float* weight, int64_t tap_step, int64_t column_step,
                          int64_t columns);
  // dweight [3, 3, channels] = (dweight +) G^T du G
  void (*winograd_weight_gradient)(float* dweight, bool add, const float* du, int64_t plane, int64_t channels);

  const GroupNormLoops<float>* group_norm;
  const GroupNormLoops<double>* group_norm_in_double;

  // to[c, r] = scale from[r, c]
  void (*transpose)(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows, int64_t columns,
                    float scale);
  // For attention, over the columns of a matrix (a column is a query, a row a key; columns fill whole vectors;
  // logarithms and exponentials are to base 2). The next rows of a softmax, where `largest` and `total` belong to the
  // rows before: both are brought up to date, s becomes 2^(s - largest), and what was summed before is to be multiplied
  // by `rescale`.
  void (*softmax_columns)(float* s, float* largest, float* total, float* rescale, int64_t rows, int64_t columns,
                          int64_t row);
  // s becomes p = 2^(s - lse), and dp becomes p (dp - delta).
  void (*softmax_columns_backward)(float* s, float* dp, const float* lse, const float* delta, int64_t rows,
                                   int64_t columns, int64_t row);
  void (*scale_columns)(float* x, const float* factor, int64_t rows, int64_t columns, int64_t row);

  // The same in one go for one block of narrow heads. sums [narrow, block] += p v, with largest and total [block]
  // brought up to date; s [keys, block] is scratch.
  int narrow;
  void (*attend_narrow)(const NarrowTile&, float* sums, float* largest, float* total, float* s);
  // dk, dv [keys, narrow] (rows gradient_row apart) and dq (like q) get their share of all blocks added; lse, delta
  // [queries].
  void (*attend_narrow_backward)(const NarrowTile&, float* dq, float* dk, float* dv, int64_t gradient_row,
                                 const float* dy, const float* lse, const float* delta);

  // One step for n parameters; ema may be null.
  void (*adamw)(float* p, float* m, float* v, float* ema, const float* gradient, int64_t n, const AdamStep<float>&);
};

const Table& table();

}  // namespace stipple::simd
