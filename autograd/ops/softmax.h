#pragma once
#include "autograd/var.h"

namespace stipple {

Var softmax(const Var& x);  // over the last dimension

}  // namespace stipple
