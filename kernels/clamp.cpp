#include "kernels/clamp.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "clamp: no numbers between {} and {}", low, high);
  Tensor y = empty_like(x);
  launch<&cpu::clamp, &cuda::clamp>(x.device(), y, x, low, high);
  return y;
}

Tensor clamp_backward(const Tensor& dy, const Tensor& x, double low, double high) {
  check(dy.shape() == x.shape() && dy.dtype() == x.dtype(), "clamp: gradient {} for input {}", describe(dy),
        describe(x));
  Tensor dx = empty_like(x);
  launch<&cpu::clamp_backward, &cuda::clamp_backward>(x.device(), dx, dy, x, low, high);
  return dx;
}

}  // namespace stipple::kernels
