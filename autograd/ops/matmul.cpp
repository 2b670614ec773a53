#include "autograd/ops/matmul.h"

#include "kernels/conv2d.h"

namespace stipple {
namespace {

Tensor rows_of(const Tensor& x) { return x.reshape({x.dim(-1) ? x.numel() / x.dim(-1) : 0, x.dim(-1)}); }

}  // namespace

Var matmul(const Var& a, const Var& b) {
  return record("matmul", kernels::matmul(a.value(), b.value()), {a, b},
                [a = save_if(b.requires_grad(), a.value()), b = save_if(a.requires_grad(), b.value())](
                    const Tensor& dy, Destinations& to) {
                  if (to.wanted(0)) to.set(0, kernels::matmul(dy, b, Transpose::no, Transpose::yes));
                  if (to.wanted(1)) to.set(1, kernels::matmul(a, dy, Transpose::yes, Transpose::no));
                });
}

Var linear(const Var& x, const Var& weight, const Var& bias) {
  return record("linear", kernels::linear(x.value(), weight.value(), bias.value()), {x, weight, bias},
                [x_shape = x.shape(), w_shape = weight.shape(), x = save_if(weight.requires_grad(), x.value()),
                 w = save_if(x.requires_grad(), weight.value())](const Tensor& dy, Destinations& to) {
                  const Tensor rows = rows_of(dy);
                  if (to.wanted(0)) to.set(0, kernels::matmul(rows, w).reshape(x_shape));
                  if (to.wanted(1))
                    kernels::matmul_into(to.parameter(1, w_shape, dy.dtype()), rows, rows_of(x), Transpose::yes,
                                         Transpose::no);
                  // Of a bias a linear layer is a convolution whose picture is one column of rows.
                  if (to.wanted(2))
                    kernels::conv2d_weight_gradient(
                        {.dweight = {}, .dbias = to.parameter(2, {w_shape[0]}, dy.dtype()), .dtime_embedding = {}},
                        rows.reshape({1, rows.dim(0), 1, rows.dim(1)}), Tensor(), {});
                });
}

}  // namespace stipple
