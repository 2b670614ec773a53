#pragma once
#include "autograd/var.h"
#include "kernels/activation.h"

namespace stipple {

Var activation(Activation, const Var& x);
inline Var silu(const Var& x) { return activation(Activation::silu, x); }
inline Var gelu(const Var& x) { return activation(Activation::gelu, x); }
inline Var mish(const Var& x) { return activation(Activation::mish, x); }
inline Var relu(const Var& x) { return activation(Activation::relu, x); }

}  // namespace stipple
