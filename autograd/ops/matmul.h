#pragma once
#include "autograd/var.h"
#include "kernels/matmul.h"

namespace stipple {

Var matmul(const Var& a, const Var& b);                        // [M, K] [K, N] -> [M, N]
Var linear(const Var& x, const Var& weight, const Var& bias);  // [..., in], [out, in], [out] or undefined -> [..., out]

}  // namespace stipple
