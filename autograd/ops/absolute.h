#pragma once
#include "autograd/var.h"

namespace stipple {

Var absolute(const Var& x);  // |x|; the slope at 0 is 0

}  // namespace stipple
