#pragma once
#include "tensor/tensor.h"

// Pictures made half and twice as large by the smooth filter k = [1, 3, 3, 1] / 8 along height and width, NHWC, zeros
// outside. Zhang 2019, arXiv:1904.11486; Karras et al. 2020, arXiv:1912.04958, whose upfirdn this is for a factor of 2.
// f32 and f64. Along one dimension
//
//   fir_downsample  y[i] = gain sum_{a=0..3} k[a] x[2i + a - 1]
//   fir_upsample    y[2i] = gain (x[i-1] + 3 x[i]) / 4     y[2i+1] = gain (3 x[i] + x[i+1]) / 4
//
// (gain once, not once a dimension). A flat picture keeps its brightness, edges apart. Each is the other's transpose
// but for the brightness: with respect to x the gradient of fir_downsample is fir_upsample(dy, gain / 4), that of
// fir_upsample is fir_downsample(dy, 4 gain).

namespace stipple {

namespace kernels {
Tensor fir_downsample(const Tensor& x, double gain = 1);  // [N, H, W, C] -> [N, H/2, W/2, C], H and W even
Tensor fir_upsample(const Tensor& x, double gain = 1);    // [N, H, W, C] -> [N, 2H, 2W, C]
}  // namespace kernels

namespace cpu {
void fir_downsample(Tensor& y, const Tensor& x, double gain);
void fir_upsample(Tensor& y, const Tensor& x, double gain);
}  // namespace cpu

namespace cuda {
void fir_downsample(Tensor& y, const Tensor& x, double gain);
void fir_upsample(Tensor& y, const Tensor& x, double gain);
}  // namespace cuda

}  // namespace stipple
