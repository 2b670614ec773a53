#pragma once
#include "tensor/tensor.h"

// Softmax over the last dimension: y = exp(x - max x) / sum exp(x - max x). f32 and f64.
// Backward: dx = y (dy - sum dy y).

namespace stipple {

namespace kernels {
Tensor softmax(const Tensor& x);                             // [..., C]
Tensor softmax_backward(const Tensor& dy, const Tensor& y);  // dx, from the result y
}  // namespace kernels

namespace cpu {
void softmax(Tensor& y, const Tensor& x);
void softmax_backward(Tensor& dx, const Tensor& dy, const Tensor& y);
}  // namespace cpu

namespace cuda {
void softmax(Tensor& y, const Tensor& x);
void softmax_backward(Tensor& dx, const Tensor& dy, const Tensor& y);
}  // namespace cuda

}  // namespace stipple
