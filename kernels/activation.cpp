#include "kernels/activation.h"

#include "kernels/launch.h"

namespace stipple {

const char* name_of(Activation kind) {
  switch (kind) {
    case Activation::silu:
      return "silu";
    case Activation::gelu:
      return "gelu";
    case Activation::relu:
      return "relu";
    case Activation::mish:
      return "mish";
  }
  return "?";
}

namespace kernels {

Tensor activation(Activation kind, const Tensor& x) {
  Tensor y = empty_like(x);
  launch<&cpu::activation, &cuda::activation>(x.device(), y, kind, x);
  return y;
}

Tensor activation_backward(Activation kind, const Tensor& dy, const Tensor& x) {
  check(dy.shape() == x.shape(), "{}: gradient {} for input {}", name_of(kind), describe(dy), describe(x));
  Tensor dx = empty_like(x);
  launch<&cpu::activation_backward, &cuda::activation_backward>(x.device(), dx, kind, dy, x);
  return dx;
}

}  // namespace kernels
}  // namespace stipple
