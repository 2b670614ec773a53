#pragma once
#include "tensor/tensor.h"

// Activations, element by element, f32 and f64.
//   silu  x sigmoid(x)                        Elfwing et al. 2017, arXiv:1702.03118
//   gelu  x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2, not the tanh approximation   Hendrycks & Gimpel, arXiv:1606.08415
//   relu  max(x, 0)
//   mish  x tanh(log(1 + e^x))                Misra 2019, arXiv:1908.08681

namespace stipple {

enum class Activation { silu, gelu, relu, mish };
const char* name_of(Activation);

namespace kernels {
Tensor activation(Activation, const Tensor& x);
Tensor activation_backward(Activation, const Tensor& dy, const Tensor& x);  // dx
}  // namespace kernels

namespace cpu {
void activation(Tensor& y, Activation, const Tensor& x);
void activation_backward(Tensor& dx, Activation, const Tensor& dy, const Tensor& x);
}  // namespace cpu

namespace cuda {
void activation(Tensor& y, Activation, const Tensor& x);
void activation_backward(Tensor& dx, Activation, const Tensor& dy, const Tensor& x);
}  // namespace cuda

}  // namespace stipple
