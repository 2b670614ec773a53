#pragma once
#include "tensor/tensor.h"

// y = min(max(x, low), high), element by element. The gradient passes where low <= x <= high and is zero elsewhere. f32
// and f64.

namespace stipple {

namespace kernels {
Tensor clamp(const Tensor& x, double low, double high);
Tensor clamp_backward(const Tensor& dy, const Tensor& x, double low, double high);  // dx
}  // namespace kernels

namespace cpu {
void clamp(Tensor& y, const Tensor& x, double low, double high);
void clamp_backward(Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high);
}  // namespace cpu

namespace cuda {
void clamp(Tensor& y, const Tensor& x, double low, double high);
void clamp_backward(Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high);
}  // namespace cuda

}  // namespace stipple
