#include "kernels/dropout.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor dropout(const Tensor& x, const DropoutOptions& o) {
  check(o.p >= 0 && o.p < 1, "dropout: the probability must be in [0, 1), it is {}", o.p);
  Tensor y = empty_like(x);
  launch<&cpu::dropout, &cuda::dropout>(x.device(), y, x, o);
  return y;
}

}  // namespace stipple::kernels
