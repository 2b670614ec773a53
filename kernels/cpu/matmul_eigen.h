#pragma once
#include "kernels/cpu/matmul_extents.h"

namespace stipple::cpu {

// Rung 2 of matmul: Eigen's product, the portable baseline. T is float or double; `add` is Grad's.
template <typename T>
void matmul_eigen(T* c, bool add, const T* a, const T* b, const MatmulExtents&);

}  // namespace stipple::cpu
