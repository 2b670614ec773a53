#pragma once
#include "tensor/tensor.h"

// Two-dimensional convolution (cross-correlation, as in PyTorch), NHWC, zero padding.
//
//   y[n,i,j,k] = bias[k] + sum_{r,s,c} x[n, i*stride + r - top, j*stride + s - left, c] * weight[k,r,s,c]
//
// with zeros outside x. Ho = (H + top + bottom - R) / stride + 1, rounded down; Wo likewise. Backward:
//   dx[n,h,w,c]      = sum over the (i,j,r,s,k) that read x[n,h,w,c] of dy[n,i,j,k] weight[k,r,s,c]
//   dweight[k,r,s,c] = sum_{n,i,j} dy[n,i,j,k] x[n, i*stride + r - top, j*stride + s - left, c]
//   dbias[k]         = sum_{n,i,j} dy[n,i,j,k]

namespace stipple {

struct Padding {
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  static Padding same(int64_t p) { return {p, p, p, p}; }
};

struct Conv2dOptions {
  int64_t stride = 1;
  Padding padding;
};

// The output's shape [N, Ho, Wo, K]. Throws where x and weight do not fit.
Shape conv2d_shape(const Shape& x, const Shape& weight, const Conv2dOptions&);

namespace kernels {
Tensor conv2d(const Tensor& x,       // [N, H, W, C]
              const Tensor& weight,  // [K, R, S, C]
              const Tensor& bias,    // [K], or undefined
              const Conv2dOptions&);
Tensor conv2d_input_gradient(const Tensor& dy, const Tensor& weight, const Shape& x, const Conv2dOptions&);
void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions&);
}  // namespace kernels

namespace cpu {
void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions&);
void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions&);
}  // namespace cpu

namespace cuda {
void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions&);
void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions&);
}  // namespace cuda

}  // namespace stipple
