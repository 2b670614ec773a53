#include "autograd/ops/resample.h"

#include "kernels/resample.h"

namespace stipple {

Var upsample_nearest(const Var& x) {
  return record("upsample_nearest", kernels::upsample_nearest(x.value()), {x},
                [](const Tensor& dy, Destinations& to) { to.set(0, kernels::upsample_nearest_backward(dy)); });
}

Var avg_pool2d(const Var& x, int64_t kernel) {
  return record("avg_pool2d", kernels::avg_pool2d(x.value(), kernel), {x},
                [kernel, shape = x.shape()](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::avg_pool2d_backward(dy, shape, kernel));
                });
}

Var max_pool2d(const Var& x, int64_t kernel) {
  return record("max_pool2d", kernels::max_pool2d(x.value(), kernel), {x},
                [kernel, x = save_if(x.requires_grad(), x.value())](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::max_pool2d_backward(dy, x, kernel));
                });
}

}  // namespace stipple
