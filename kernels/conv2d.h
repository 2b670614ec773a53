#pragma once
#include "kernels/concat.h"

// Two-dimensional convolution (cross-correlation, as in PyTorch), NHWC, zero padding.
//
//   sums[n,i,j,k] = sum_{r,s,c} x[n, i*stride + r - top, j*stride + s - left, c] * weight[k,r,s,c]
//   y[n,i,j,k]    = (sums + bias[k] + time_embedding[n,k] + residual[n,i,j,k]) / output_scale_factor
//
// with zeros outside x, which may first be made twice as large (diffusers' Upsample2D): the large map is never written
// on CUDA, and lives as long as a call on the CPU. Ho = (H + top + bottom - R) / stride + 1, rounded down; Wo likewise.
// Backward, from the gradient dy of the sum in parentheses:
//   dx[n,h,w,c]          = sum over the (i,j,r,s,k) that read x[n,h,w,c] of dy[n,i,j,k] weight[k,r,s,c]
//   dweight[k,r,s,c]     = sum_{n,i,j} dy[n,i,j,k] x[n, i*stride + r - top, j*stride + s - left, c]
//   dtime_embedding[n,k] = sum_{i,j} dy[n,i,j,k]    dbias[k] = sum_n dtime_embedding[n,k]    dresidual = dy
//
// x may be two tensors that stand for their concatenation. Its gradient, and the weight's, are those of two
// convolutions, each with its channels of the weight.

namespace stipple {

struct Padding {
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  static Padding same(int64_t p) { return {p, p, p, p}; }
};

struct Conv2dOptions {
  int64_t stride = 1;
  Padding padding;
  bool upsample = false;  // x is first made twice as large by nearest neighbours, H and W are then the doubled ones
};

// What becomes of the sums on their way out, of Tensors or of Vars; undefined: not added. A ResNet block of diffusers
// adds its time embedding to its first convolution, and itself to the second: (conv + residual) / output_scale_factor.
template <typename T>
struct Conv2dEpilogue {
  T bias;            // [K]
  T time_embedding;  // [N, K], to every pixel of its image
  T residual;        // [N, Ho, Wo, K]
  double output_scale_factor = 1;
  bool moments = false;  // those of y's channels are taken as well, for a group norm
};

struct Conv2dOut {
  Tensor y;
  // f32 [N, pieces, 2, K], where they were asked for and the kernel has them at hand: on CUDA, on tensor cores, where
  // one block computes a whole sum and x is not upsampled. The CPU, whose group norm finds x in its caches, takes none.
  Tensor moments;
};

struct Conv2dGrads {       // where to write; undefined = not wanted
  Grad dweight, dbias;     // [K, R, S, C], [K]
  Tensor dtime_embedding;  // [N, K]
};

// The output's shape [N, Ho, Wo, K]. Throws where x and weight do not fit.
Shape conv2d_shape(const Shape& x, const Shape& weight, const Conv2dOptions&);

namespace kernels {
Conv2dOut conv2d(const Concat<Tensor>& x,  // [N, H, W, C]
                 const Tensor& weight,     // [K, R, S, C]
                 const Conv2dEpilogue<Tensor>&, const Conv2dOptions&);
Tensor conv2d_input_gradient(const Tensor& dy, const Tensor& weight, const Shape& x, const Conv2dOptions&);
// Of two inputs, the first of which has a_channels; undefined = not wanted.
void conv2d_input_gradient(const Concat<Tensor>& dx, int64_t a_channels, const Tensor& dy, const Tensor& weight,
                           const Conv2dOptions&);
// x is only looked at where dweight is wanted.
void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Conv2dOptions&);
}  // namespace kernels

namespace cpu {
void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>&,
            const Conv2dOptions&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions&);
void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions&);
}  // namespace cpu

namespace cuda {
void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>&,
            const Conv2dOptions&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions&);
void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions&);
}  // namespace cuda

}  // namespace stipple
