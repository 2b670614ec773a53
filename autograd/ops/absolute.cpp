#include "autograd/ops/absolute.h"

#include "kernels/absolute.h"

namespace stipple {

Var absolute(const Var& x) {
  return record("absolute", kernels::absolute(x.value()), {x},
                [x = save_if(x.requires_grad(), x.value())](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::absolute_backward(dy, x));
                });
}

}  // namespace stipple
