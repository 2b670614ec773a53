#include "kernels/softmax.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor softmax(const Tensor& x) {
  check(x.rank() >= 1 && x.dim(-1) >= 1, "softmax: [..., C] expected, got {}", describe(x));
  Tensor y = empty_like(x);
  launch<&cpu::softmax, &cuda::softmax>(x.device(), y, x);
  return y;
}

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  check(dy.shape() == y.shape() && dy.dtype() == y.dtype(), "softmax: gradient {} for result {}", describe(dy),
        describe(y));
  Tensor dx = empty_like(y);
  launch<&cpu::softmax_backward, &cuda::softmax_backward>(y.device(), dx, dy, y);
  return dx;
}

}  // namespace stipple::kernels
