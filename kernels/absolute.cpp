#include "kernels/absolute.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor absolute(const Tensor& x) {
  Tensor y = empty_like(x);
  launch<&cpu::absolute, &cuda::absolute>(x.device(), y, x);
  return y;
}

Tensor absolute_backward(const Tensor& dy, const Tensor& x) {
  check(dy.shape() == x.shape(), "absolute: gradient {} for input {}", describe(dy), describe(x));
  Tensor dx = empty_like(x);
  launch<&cpu::absolute_backward, &cuda::absolute_backward>(x.device(), dx, dy, x);
  return dx;
}

}  // namespace stipple::kernels
