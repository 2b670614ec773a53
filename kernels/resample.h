#pragma once
#include "tensor/tensor.h"

// Pictures made larger and smaller, NHWC, f32 and f64.
//   upsample_nearest  [N, H, W, C] -> [N, 2H, 2W, C]: every pixel four times
//   avg_pool2d        [N, H, W, C] -> [N, H/k, W/k, C]: means of k x k blocks (stride k; rows and columns that fill no
//   block max_pool2d        are dropped, as in PyTorch), or their largest values, the first of equals

namespace stipple {

namespace kernels {
Tensor upsample_nearest(const Tensor& x);
Tensor upsample_nearest_backward(const Tensor& dy);  // dx: sums of 2 x 2 blocks

Tensor avg_pool2d(const Tensor& x, int64_t kernel = 2);
Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, int64_t kernel = 2);  // dx

Tensor max_pool2d(const Tensor& x, int64_t kernel = 2);
Tensor max_pool2d_backward(const Tensor& dy, const Tensor& x, int64_t kernel = 2);  // dx
}  // namespace kernels

namespace cpu {
void upsample_nearest(Tensor& y, const Tensor& x);
void upsample_nearest_backward(Tensor& dx, const Tensor& dy);
void avg_pool2d(Tensor& y, const Tensor& x, int64_t kernel);
void avg_pool2d_backward(Tensor& dx, const Tensor& dy, int64_t kernel);
void max_pool2d(Tensor& y, const Tensor& x, int64_t kernel);
void max_pool2d_backward(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t kernel);
}  // namespace cpu

namespace cuda {
void upsample_nearest(Tensor& y, const Tensor& x);
void upsample_nearest_backward(Tensor& dx, const Tensor& dy);
void avg_pool2d(Tensor& y, const Tensor& x, int64_t kernel);
void avg_pool2d_backward(Tensor& dx, const Tensor& dy, int64_t kernel);
void max_pool2d(Tensor& y, const Tensor& x, int64_t kernel);
void max_pool2d_backward(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t kernel);
}  // namespace cuda

}  // namespace stipple
