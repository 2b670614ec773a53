#pragma once
#include "kernels/matmul.h"

namespace stipple::cpu {

// op(A) is rows x inner, op(B) inner x columns.
struct MatmulExtents {
  int64_t rows, columns, inner;
  Transpose transpose_a, transpose_b;
};

}  // namespace stipple::cpu
