#include "autograd/ops/group_norm.h"

namespace stipple {

Var group_norm(const Var& x, const Var& gamma, const Var& beta, const GroupNormOptions& o) {
  const GroupNormOut out = kernels::group_norm(x.value(), gamma.value(), beta.value(), o);
  const bool any = x.requires_grad() || gamma.requires_grad() || beta.requires_grad();
  return record("group_norm", out.y, {x, gamma, beta},
                [o, x = save_if(any, x.value()), gamma = gamma.value(), beta = beta.value(), mean = out.mean,
                 rstd = out.rstd](const Tensor& dy, Destinations& to) {
                  const Shape c = gamma.shape();
                  const Dtype dtype = gamma.dtype();
                  kernels::group_norm_backward(
                      {to.activation(0, x), to.parameter(1, c, dtype), to.parameter(2, c, dtype)}, dy, x, gamma, beta,
                      mean, rstd, o);
                });
}

}  // namespace stipple
