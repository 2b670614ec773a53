#pragma once
#include "tensor/tensor.h"

// |x|, element by element, f32 and f64. The slope at 0 is 0, as in PyTorch.

namespace stipple {

namespace kernels {
Tensor absolute(const Tensor& x);
Tensor absolute_backward(const Tensor& dy, const Tensor& x);  // dx = dy sign(x)
}  // namespace kernels

namespace cpu {
void absolute(Tensor& y, const Tensor& x);
void absolute_backward(Tensor& dx, const Tensor& dy, const Tensor& x);
}  // namespace cpu

namespace cuda {
void absolute(Tensor& y, const Tensor& x);
void absolute_backward(Tensor& dx, const Tensor& dy, const Tensor& x);
}  // namespace cuda

}  // namespace stipple
