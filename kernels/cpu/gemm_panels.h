#pragma once
#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
#include "tensor/tensor.h"

// What every caller of the register tile needs: which tile, and the right operand packed for it.

namespace stipple::cpu {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// simd::Table::gemm_tile, or gemm_tile_in_double.
using RegisterTile = void (*)(const simd::GemmTile&);

// Whether a product is so small that its sums are made in double, for a time hardly anybody notices: what a small
// network computes is then as exact as f32 can hold it.
inline bool affords_double(int64_t multiply_adds) { return multiply_adds <= int64_t{3} << 25; }

// Cuts [0, n) into the fewest pieces of at most `most`, nearly equal ones, and calls f(begin, length).
template <typename F>
void for_pieces(int64_t n, int64_t most, F&& f) {
  const int64_t pieces = divide_up(n, most);
  for (int64_t i = 0; i < pieces; ++i) f(i * n / pieces, (i + 1) * n / pieces - i * n / pieces);
}

// out [steps, width] = `columns` columns of a matrix whose rows are row(step), their elements column_stride apart.
// Sixteen steps at a time: of a transposed matrix they are a cache line of each column.
template <typename Row>
void pack_panel(float* out, int64_t steps, int64_t columns, int64_t width, int64_t column_stride, Row&& row) {
  for (int64_t begin = 0; begin < steps; begin += 16) {
    const int64_t end = std::min(begin + 16, steps);
    if (column_stride == 1)
      for (int64_t step = begin; step < end; ++step) std::copy_n(row(step), columns, out + step * width);
    else
      for (int64_t i = 0; i < columns; ++i)
        for (int64_t step = begin; step < end; ++step) out[step * width + i] = row(step)[i * column_stride];
    for (int64_t step = begin; step < end; ++step)
      std::fill(out + step * width + columns, out + (step + 1) * width, 0.f);
  }
}

// A matrix B [steps, columns] as panels [columns / gemm_columns][steps][gemm_columns], zeros behind the last column.
// row(step) points at a row of B, whose elements lie column_stride apart.
template <typename Row>
Tensor pack_panels(int64_t steps, int64_t columns, int64_t column_stride, Row&& row) {
  const int64_t width = simd::table().gemm_columns, panels = divide_up(columns, width);
  Tensor packed({panels, steps, width});
  float* to = packed.mutable_data<float>();
  parallel_for(panels, [&](int64_t panel) {
    const int64_t first = panel * width;
    pack_panel(to + panel * steps * width, steps, std::min(width, columns - first), width, column_stride,
               [&](int64_t step) { return row(step) + first * column_stride; });
  });
  return packed;
}

}  // namespace stipple::cpu
