#pragma once
#include "autograd/var.h"

namespace stipple {

// x in another floating dtype; the gradient comes back in x's own. Where it has that dtype, this is x itself.
Var cast(const Var& x, Dtype);

}  // namespace stipple
