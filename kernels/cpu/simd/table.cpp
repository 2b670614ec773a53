#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

#define STIPPLE_TEXT_OF(name) #name
#define STIPPLE_TEXT(name) STIPPLE_TEXT_OF(name)

namespace stipple::simd::STIPPLE_SIMD {

extern const Table functions;
const Table functions = {
    .name = STIPPLE_TEXT(STIPPLE_SIMD),
    .lanes = kLanes,
    .multiply_adds = multiply_adds,
    .silu = silu,
    .silu_backward = silu_backward,
    .gemm_rows = kGemmRows,
    .gemm_columns = kGemmColumns,
    .gemm_tile = gemm_tile,
    .gemm_tile_in_double = gemm_tile_in_double,
    .column_sums = column_sums,
    .winograd_input = winograd_input,
    .winograd_output_gradient = winograd_output_gradient,
    .winograd_output = winograd_output,
    .winograd_weight = winograd_weight,
    .winograd_weight_gradient = winograd_weight_gradient,
    .group_norm = &group_norm,
    .group_norm_in_double = &group_norm_in_double,
    .transpose = transpose,
    .softmax_columns = softmax_columns,
    .softmax_columns_backward = softmax_columns_backward,
    .scale_columns = scale_columns,
    .narrow = kNarrow,
    .attend_narrow = attend_narrow,
    .attend_narrow_backward = attend_narrow_backward,
    .adamw = adamw,
};

}  // namespace stipple::simd::STIPPLE_SIMD
