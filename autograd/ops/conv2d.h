#pragma once
#include "autograd/var.h"
#include "kernels/conv2d.h"

namespace stipple {

// x [N, H, W, C], or two that stand for their concatenation, weight [K, R, S, C] -> [N, Ho, Wo, K]; kernels/conv2d.h
// says more, and what {bias} stands for.
Var conv2d(const Concat<Var>& x, const Var& weight, const Conv2dEpilogue<Var>&, const Conv2dOptions&);

}  // namespace stipple
