#pragma once
#include <stdint.h>

#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

// What table.cpp collects, as each file of this folder defines it for its instruction set. simd.h says what they
// compute.

namespace stipple::simd::STIPPLE_SIMD {

// peak.cpp
int64_t multiply_adds(float* keep, int64_t steps);

// activation.cpp
void silu(float* y, const float* x, int64_t n);
void silu_backward(float* dx, const float* dy, const float* x, int64_t n);

// group_norm.cpp
extern const GroupNormLoops<float> group_norm;
extern const GroupNormLoops<double> group_norm_in_double;

// gemm.cpp
inline constexpr int kGemmRows = kRegisters == 32 ? 14 : 6, kGemmColumns = 2 * kLanes;
void gemm_tile(const GemmTile&);
void column_sums(double* sums, const float* a, int64_t rows, int64_t columns);

// gemm_double.cpp
void gemm_tile_in_double(const GemmTile&);

// winograd.cpp
void winograd_input(float* v, int64_t plane, const ImagePatch& x);
void winograd_output_gradient(float* v, int64_t plane, const ImagePatch& dy);
void winograd_output(float* y, const ImagePatch& to, const float* m, int64_t plane, const float* bias);
void winograd_weight(float* u, int64_t plane, const float* weight, int64_t tap_step, int64_t column_step,
                     int64_t columns);
void winograd_weight_gradient(float* dweight, bool add, const float* du, int64_t plane, int64_t channels);

// attention.cpp
void transpose(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows, int64_t columns,
               float scale);
void softmax_columns(float* s, float* largest, float* total, float* rescale, int64_t rows, int64_t columns,
                     int64_t row);
void softmax_columns_backward(float* s, float* dp, const float* lse, const float* delta, int64_t rows, int64_t columns,
                              int64_t row);
void scale_columns(float* x, const float* factor, int64_t rows, int64_t columns, int64_t row);

// attention_narrow.cpp
inline constexpr int kNarrow = 8;
void attend_narrow(const NarrowTile&, float* sums, float* largest, float* total, float* s);
void attend_narrow_backward(const NarrowTile&, float* dq, float* dk, float* dv, int64_t gradient_row, const float* dy,
                            const float* lse, const float* delta);

// adamw.cpp
void adamw(float* p, float* m, float* v, float* ema, const float* gradient, int64_t n, const AdamStep<float>&);

}  // namespace stipple::simd::STIPPLE_SIMD
