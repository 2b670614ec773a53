#pragma once
#include "autograd/var.h"

// Arithmetic with broadcasting as in PyTorch.

namespace stipple {

Var operator+(const Var& a, const Var& b);
Var operator-(const Var& a, const Var& b);
Var operator*(const Var& a, const Var& b);
Var operator/(const Var& a, const Var& b);

Var affine(const Var& x, double scale, double shift);  // scale x + shift
inline Var operator*(const Var& x, double scale) { return affine(x, scale, 0); }
inline Var operator*(double scale, const Var& x) { return affine(x, scale, 0); }
inline Var operator/(const Var& x, double divisor) { return affine(x, 1 / divisor, 0); }
inline Var operator+(const Var& x, double shift) { return affine(x, 1, shift); }
inline Var operator-(const Var& x, double shift) { return affine(x, 1, -shift); }
inline Var operator-(const Var& x) { return affine(x, -1, 0); }

Var sum(const Var& x);                             // of all elements, a scalar
Var mean(const Var& x);                            // of all elements, a scalar
Var clamp(const Var& x, double low, double high);  // the gradient passes where low <= x <= high

}  // namespace stipple
