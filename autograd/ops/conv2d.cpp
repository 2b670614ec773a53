#include "autograd/ops/conv2d.h"

#include "kernels/arithmetic.h"

namespace stipple {
namespace {

Conv2dEpilogue<Tensor> values(const Conv2dEpilogue<Var>& e) {
  return {e.bias.value(), e.time_embedding.value(), e.residual.value(), e.output_scale_factor, e.moments};
}

}  // namespace

Var conv2d(const Concat<Var>& x, const Var& weight, const Conv2dEpilogue<Var>& e, const Conv2dOptions& o) {
  const Concat<Tensor> in{x.a.value(), x.b.value()};
  const Conv2dOut out = kernels::conv2d(in, weight.value(), values(e), o);
  return record("conv2d", out.y, {x.a, weight, e.bias, e.time_embedding, e.residual, x.b},
                [o, factor = e.output_scale_factor, a = in.a.shape(), b = in.b ? in.b.shape() : Shape(),
                 w_shape = weight.shape(), x = weight.requires_grad() ? in : Concat<Tensor>(),
                 w = save_if(x.a.requires_grad() || x.b.requires_grad(), weight.value())](const Tensor& after,
                                                                                          Destinations& to) {
                  const Tensor dy = factor == 1 ? after : kernels::affine(after, 1 / factor, 0);
                  if (to.wanted(0) || to.wanted(5))
                    kernels::conv2d_input_gradient({to.activation(0, a, dy.dtype()), to.activation(5, b, dy.dtype())},
                                                   a[3], dy, w, o);
                  kernels::conv2d_weight_gradient(
                      {to.parameter(1, w_shape, dy.dtype()), to.parameter(2, {w_shape[0]}, dy.dtype()),
                       to.activation(3, {dy.dim(0), w_shape[0]}, dy.dtype())},
                      dy, x, o);
                  to.set(4, dy);
                })
      .with_moments(out.moments);
}

}  // namespace stipple
