#include "autograd/ops/loss.h"

#include "kernels/loss.h"

namespace stipple {

Var mse(const Var& prediction, const Tensor& target) {
  return record("mse", kernels::mse(prediction.value(), target), {prediction},
                [target, prediction = save_if(prediction.requires_grad(), prediction.value())](
                    const Tensor& dy, Destinations& to) { to.set(0, kernels::mse_backward(dy, prediction, target)); });
}

Var cross_entropy(const Var& logits, const Tensor& labels) {
  return record("cross_entropy", kernels::cross_entropy(logits.value(), labels), {logits},
                [labels, logits = save_if(logits.requires_grad(), logits.value())](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::cross_entropy_backward(dy, logits, labels));
                });
}

}  // namespace stipple
