#pragma once
#include "kernels/matmul.h"

// Rung 2 of matmul: Eigen's product, the portable baseline; T is float or double. op(A) is rows x inner, op(B) inner x
// columns.

namespace stipple::cpu {

struct MatmulExtents {
  int64_t rows, columns, inner;
  Transpose transpose_a, transpose_b;
};

template <typename T>
void matmul_eigen(T* c, bool add, const T* a, const T* b, const MatmulExtents&);

}  // namespace stipple::cpu
