#pragma once
#include "autograd/var.h"

namespace stipple {

// Each element becomes zero with probability p, the others grow by 1 / (1 - p). The numbers are those of the open
// RandomStream (autograd/random_stream.h); without one, and for p = 0, this is x itself.
Var dropout(const Var& x, double p);

}  // namespace stipple
