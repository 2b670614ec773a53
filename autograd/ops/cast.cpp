#include "autograd/ops/cast.h"

namespace stipple {

Var cast(const Var& x, Dtype dtype) {
  const Dtype from = x.value().dtype();
  if (dtype == from) return x;
  return record("cast", x.value().to(dtype), {x},
                [from](const Tensor& dy, Destinations& to) { to.set(0, dy.to(from)); });
}

}  // namespace stipple
