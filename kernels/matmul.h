#pragma once
#include "tensor/tensor.h"

// Matrix product C = op(A) op(B), where op may transpose. f32 and f64, row-major.

namespace stipple {

enum class Transpose { no, yes };

namespace kernels {
Tensor matmul(const Tensor& a,  // [M, K], or [K, M] transposed
              const Tensor& b,  // [K, N], or [N, K] transposed
              Transpose transpose_a = Transpose::no, Transpose transpose_b = Transpose::no);  // [M, N]
void matmul_into(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b);

// y = x weight^T + bias, PyTorch's Linear: x [..., in], weight [out, in], bias [out] or undefined; y [..., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);
}  // namespace kernels

namespace cpu {
void matmul(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b);
// y [M, N] = x [M, K] weight^T + bias
void linear(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias);
}  // namespace cpu

namespace cuda {
void matmul(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b);
// y [M, N] = x [M, K] weight^T + bias
void linear(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias);
}  // namespace cuda

}  // namespace stipple
