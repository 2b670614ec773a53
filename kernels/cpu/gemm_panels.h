#pragma once
#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
#include "tensor/tensor.h"

// The right operand of simd::Table::gemm_tile.

namespace stipple::cpu {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cuts [0, n) into the fewest pieces of at most `most`, nearly equal ones, and calls f(begin, length).
template <typename F>
void for_pieces(int64_t n, int64_t most, F&& f) {
  const int64_t pieces = divide_up(n, most);
  for (int64_t i = 0; i < pieces; ++i) f(i * n / pieces, (i + 1) * n / pieces - i * n / pieces);
}

// A matrix B [steps, columns] as panels [columns / gemm_columns][steps][gemm_columns], zeros behind the last column.
// row(step) points at a row of B, whose elements lie column_stride apart.
template <typename Row>
Tensor pack_panels(int64_t steps, int64_t columns, int64_t column_stride, Row&& row) {
  const int64_t width = simd::table().gemm_columns, panels = divide_up(columns, width);
  Tensor packed({panels, steps, width});
  float* to = packed.mutable_data<float>();
  parallel_for(panels, [&](int64_t panel) {
    const int64_t first = panel * width, n = std::min(width, columns - first);
    for (int64_t step = 0; step < steps; ++step) {
      const float* from = row(step) + first * column_stride;
      float* out = to + (panel * steps + step) * width;
      for (int64_t i = 0; i < n; ++i) out[i] = from[i * column_stride];
      std::fill(out + n, out + width, 0.f);
    }
  });
  return packed;
}

}  // namespace stipple::cpu
