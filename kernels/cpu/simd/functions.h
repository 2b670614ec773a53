#pragma once
#include <stdint.h>

// What table.cpp collects, as each file of this folder defines it for its instruction set. simd.h says what they compute.

namespace stipple::simd::STIPPLE_SIMD {

// activation.cpp
void silu(float* y, const float* x, int64_t n);
void silu_backward(float* dx, const float* dy, const float* x, int64_t n);

}  // namespace stipple::simd::STIPPLE_SIMD
