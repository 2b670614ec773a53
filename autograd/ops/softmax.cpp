#include "autograd/ops/softmax.h"

#include "kernels/softmax.h"

namespace stipple {

Var softmax(const Var& x) {
  const Tensor y = kernels::softmax(x.value());
  return record("softmax", y, {x},
                [y](const Tensor& dy, Destinations& to) { to.set(0, kernels::softmax_backward(dy, y)); });
}

}  // namespace stipple
