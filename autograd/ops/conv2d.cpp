#include "autograd/ops/conv2d.h"

namespace stipple {

Var conv2d(const Var& x, const Var& weight, const Var& bias, const Conv2dOptions& o) {
  return record("conv2d", kernels::conv2d(x.value(), weight.value(), bias.value(), o), {x, weight, bias},
                [o, x_shape = x.shape(), w_shape = weight.shape(),
                 x = save_if(weight.requires_grad() || bias.requires_grad(), x.value()),
                 w = save_if(x.requires_grad(), weight.value())](const Tensor& dy, Destinations& to) {
                  if (to.wanted(0)) to.set(0, kernels::conv2d_input_gradient(dy, w, x_shape, o));
                  const Grad dw = to.parameter(1, w_shape, dy.dtype()), db = to.parameter(2, {w_shape[0]}, dy.dtype());
                  if (dw.wanted() || db.wanted()) kernels::conv2d_weight_gradient(dw, db, dy, x, o);
                });
}

}  // namespace stipple
