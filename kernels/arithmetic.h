#pragma once
#include "tensor/tensor.h"

// Element-by-element arithmetic with broadcasting as in PyTorch (shapes are aligned at the right; extents of 1
// stretch), and the sum that undoes a broadcast. f32 and f64; a and b of one dtype.

namespace stipple {

enum class Binary { add, subtract, multiply, divide };
const char* name_of(Binary);

Shape broadcast_shape(const Shape& a, const Shape& b);

namespace kernels {
Tensor binary(Binary, const Tensor& a, const Tensor& b);
Tensor affine(const Tensor& x, double scale, double shift);  // scale x + shift
void accumulate(const Tensor& to, const Tensor& x);          // to += x, same shape
Tensor sum_to(const Tensor& x, const Shape& shape);          // sums over what broadcasting `shape` to x stretched
Tensor broadcast_to(const Tensor& x, const Shape& shape);    // x repeated to `shape`
}  // namespace kernels

namespace cpu {
void binary(Tensor& y, Binary, const Tensor& a, const Tensor& b);
void affine(Tensor& y, const Tensor& x, double scale, double shift);
void accumulate(const Tensor& to, const Tensor& x);
void sum_to(Tensor& y, const Tensor& x);
}  // namespace cpu

namespace cuda {
void binary(Tensor& y, Binary, const Tensor& a, const Tensor& b);
void affine(Tensor& y, const Tensor& x, double scale, double shift);
void accumulate(const Tensor& to, const Tensor& x);
void sum_to(Tensor& y, const Tensor& x);
}  // namespace cuda

}  // namespace stipple
