#pragma once
#include "autograd/var.h"
#include "kernels/group_norm.h"

namespace stipple {

// x [N, ..., C], or two that stand for their concatenation, gamma and beta [C] -> [N, ..., C]; kernels/group_norm.h
// says more.
Var group_norm(const Concat<Var>& x, const Var& gamma, const Var& beta, const GroupNormOptions&);

}  // namespace stipple
