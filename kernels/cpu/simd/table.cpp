#include "kernels/cpu/simd/simd.h"

#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

#define STIPPLE_TEXT_OF(name) #name
#define STIPPLE_TEXT(name) STIPPLE_TEXT_OF(name)

namespace stipple::simd::STIPPLE_SIMD {

extern const Table functions;
const Table functions = {
    .name = STIPPLE_TEXT(STIPPLE_SIMD),
    .lanes = kLanes,
    .silu = silu,
    .silu_backward = silu_backward,
};

}  // namespace stipple::simd::STIPPLE_SIMD
