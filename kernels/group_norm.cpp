#include "kernels/group_norm.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_input(const Tensor& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& o) {
  check(x.rank() >= 2, "group_norm: [N, ..., C] expected, got {}", describe(x));
  check(o.groups >= 1 && x.dim(-1) % o.groups == 0, "group_norm: {} channels do not divide into {} groups (x {})",
        x.dim(-1), o.groups, describe(x));
  const Shape channels{x.dim(-1)};
  const Dtype parameters = x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
  check(gamma.shape() == channels && beta.shape() == channels && gamma.dtype() == parameters &&
            beta.dtype() == parameters,
        "group_norm: weight {} and bias {} for x {}", describe(gamma), describe(beta), describe(x));
}

}  // namespace

GroupNormOut group_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& o) {
  check_input(x, gamma, beta, o);
  const Dtype statistics = x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
  const Shape per_group{x.dim(0), o.groups};
  GroupNormOut out{empty_like(x), Tensor(per_group, statistics, x.device()), Tensor(per_group, statistics, x.device())};
  launch<&cpu::group_norm, &cuda::group_norm>(x.device(), out, x, gamma, beta, o);
  return out;
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Tensor& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  check_input(x, gamma, beta, o);
  check(dy.shape() == x.shape(), "group_norm: gradient {} for x {}", describe(dy), describe(x));
  launch<&cpu::group_norm_backward, &cuda::group_norm_backward>(x.device(), to, dy, x, gamma, beta, mean, rstd, o);
}

}  // namespace stipple::kernels
