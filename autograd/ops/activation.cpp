#include "autograd/ops/activation.h"

namespace stipple {

Var activation(Activation kind, const Var& x) {
  return record(name_of(kind), kernels::activation(kind, x.value()), {x},
                [kind, x = save_if(x.requires_grad(), x.value())](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::activation_backward(kind, dy, x));
                });
}

}  // namespace stipple
