#pragma once
#include "autograd/var.h"
#include "kernels/group_norm.h"

namespace stipple {

// x [N, ..., C], gamma and beta [C] -> like x; kernels/group_norm.h says more.
Var group_norm(const Var& x, const Var& gamma, const Var& beta, const GroupNormOptions&);

}  // namespace stipple
