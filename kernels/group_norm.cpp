#include "kernels/group_norm.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

Dtype parameters_for(const Concat<Tensor>& x) { return x.a.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

// The shape of x.
Shape check_input(const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& o) {
  const Shape shape = concat_shape(x);
  check(shape.rank() >= 2, "group_norm: [N, ..., C] expected, got {}", describe(x.a));
  check(o.groups >= 1 && shape[-1] % o.groups == 0, "group_norm: {} channels do not divide into {} groups (x {})",
        shape[-1], o.groups, to_string(shape));
  const Shape channels{shape[-1]};
  const Dtype parameters = parameters_for(x);
  check(gamma.shape() == channels && beta.shape() == channels && gamma.dtype() == parameters &&
            beta.dtype() == parameters,
        "group_norm: weight {} and bias {} for x {} of {}", describe(gamma), describe(beta), to_string(shape),
        name_of(x.a.dtype()));
  return shape;
}

}  // namespace

GroupNormOut group_norm(const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions& o,
                        const Concat<Tensor>& moments) {
  const Shape shape = check_input(x, gamma, beta, o), per_group{shape[0], o.groups};
  const Dtype statistics = parameters_for(x);
  const Device device = x.a.device();
  GroupNormOut out{Tensor(shape, x.a.dtype(), device), Tensor(per_group, statistics, device),
                   Tensor(per_group, statistics, device)};
  launch<&cpu::group_norm, &cuda::group_norm>(device, out, x, gamma, beta, o, moments);
  return out;
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Shape shape = check_input(x, gamma, beta, o);
  check(dy.shape() == shape, "group_norm: gradient {} for x {}", describe(dy), to_string(shape));
  launch<&cpu::group_norm_backward, &cuda::group_norm_backward>(dy.device(), to, dy, x, gamma, beta, mean, rstd, o);
}

}  // namespace stipple::kernels
