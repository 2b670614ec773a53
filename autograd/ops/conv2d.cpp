#include "autograd/ops/conv2d.h"

#include "kernels/arithmetic.h"

namespace stipple {
namespace {

Conv2dEpilogue<Tensor> values(const Conv2dEpilogue<Var>& e) {
  return {e.bias.value(), e.time_embedding.value(), e.residual.value(), e.output_scale_factor};
}

}  // namespace

Var conv2d(const Var& x, const Var& weight, const Conv2dEpilogue<Var>& e, const Conv2dOptions& o) {
  return record("conv2d", kernels::conv2d(x.value(), weight.value(), values(e), o),
                {x, weight, e.bias, e.time_embedding, e.residual},
                [o, factor = e.output_scale_factor, x_shape = x.shape(), w_shape = weight.shape(),
                 x = save_if(weight.requires_grad(), x.value()),
                 w = save_if(x.requires_grad(), weight.value())](const Tensor& after, Destinations& to) {
                  const Tensor dy = factor == 1 ? after : kernels::affine(after, 1 / factor, 0);
                  if (to.wanted(0)) to.set(0, kernels::conv2d_input_gradient(dy, w, x_shape, o));
                  kernels::conv2d_weight_gradient(
                      {to.parameter(1, w_shape, dy.dtype()), to.parameter(2, {w_shape[0]}, dy.dtype()),
                       to.activation(3, {dy.dim(0), w_shape[0]}, dy.dtype())},
                      dy, x, o);
                  to.set(4, dy);
                });
}

}  // namespace stipple
