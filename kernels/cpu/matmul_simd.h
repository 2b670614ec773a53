#pragma once
#include "kernels/cpu/gemm_panels.h"
#include "kernels/cpu/matmul_extents.h"
#include "kernels/cpu/partial_sums.h"

namespace stipple::cpu {

// Rung 3 of matmul: one of the register tiles of kernels/cpu/simd/gemm*.cpp. `bias` [columns] is added to every row, or
// null; it takes the place of the destination's old value.
void matmul_simd(const Destination& c, const float* bias, const float* a, const float* b, const MatmulExtents&,
                 RegisterTile);

}  // namespace stipple::cpu
