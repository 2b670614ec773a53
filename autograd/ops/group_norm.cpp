#include "autograd/ops/group_norm.h"

namespace stipple {

Var group_norm(const Concat<Var>& x, const Var& gamma, const Var& beta, const GroupNormOptions& o) {
  const Concat<Tensor> values{x.a.value(), x.b.value()};
  const GroupNormOut out = kernels::group_norm(values, gamma.value(), beta.value(), o, {x.a.moments(), x.b.moments()});
  const bool any = x.a.requires_grad() || x.b.requires_grad() || gamma.requires_grad() || beta.requires_grad();
  return record(
      "group_norm", out.y, {x.a, gamma, beta, x.b},
      [o, x = any ? values : Concat<Tensor>(), gamma = gamma.value(), beta = beta.value(), mean = out.mean,
       rstd = out.rstd](const Tensor& dy, Destinations& to) {
        const Shape c = gamma.shape();
        const Dtype dtype = gamma.dtype();
        kernels::group_norm_backward(
            {{to.activation(0, x.a), to.activation(3, x.b)}, to.parameter(1, c, dtype), to.parameter(2, c, dtype)}, dy,
            x, gamma, beta, mean, rstd, o);
      });
}

}  // namespace stipple
