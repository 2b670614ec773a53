#pragma once
#include "autograd/var.h"
#include "kernels/conv2d.h"

namespace stipple {

// x [N, H, W, C], weight [K, R, S, C], bias [K] or undefined -> [N, Ho, Wo, K]; kernels/conv2d.h says more.
Var conv2d(const Var& x, const Var& weight, const Var& bias, const Conv2dOptions&);

}  // namespace stipple
