#pragma once
#include "autograd/var.h"

namespace stipple {

// q [N, Tq, heads*D], k and v [N, Tk, heads*D] -> [N, Tq, heads*D]; kernels/attention.h says more.
Var attention(const Var& q, const Var& k, const Var& v, int64_t heads);

}  // namespace stipple
