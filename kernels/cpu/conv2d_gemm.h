#pragma once
#include "kernels/cpu/conv2d_geometry.h"
#include "kernels/cpu/gemm_panels.h"
#include "kernels/cpu/partial_sums.h"

// Rung 2 of conv2d: an implicit matrix product over one of the register tiles of kernels/cpu/simd/gemm*.cpp. `bias` and
// `dbias` may be null.

namespace stipple::cpu::gemm {

void conv2d(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry&, RegisterTile);
// Of a and b, which stand for their concatenation, by 1x1 filters.
void conv2d_of_two(float* y, const float* a, int64_t a_channels, const float* b, const float* weight, const float* bias,
                   const ConvGeometry&, RegisterTile);
void conv2d_input_gradient(float* dx, const float* dy, const float* weight, const ConvGeometry&, RegisterTile);

void conv2d_weight_gradient(const Destination& dweight, const float* dy, const float* x, const ConvGeometry&,
                            RegisterTile);
void conv2d_bias_gradient(const Destination& dbias, const float* dy, int64_t pixels, int64_t k);

// conv2d where filters would not fill a vector but their taps do; conv2d takes it by itself.
bool has_few_filters(const ConvGeometry&);
void conv2d_few_filters(float* y, const float* x, const float* weight, const float* bias, const ConvGeometry&,
                        RegisterTile);

}  // namespace stipple::cpu::gemm
