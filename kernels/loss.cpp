#include "kernels/loss.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_mse(const Tensor& prediction, const Tensor& target) {
  check(prediction.shape() == target.shape() && prediction.dtype() == target.dtype(), "mse: prediction {}, target {}",
        describe(prediction), describe(target));
  check(prediction.numel() > 0, "mse: the mean over no elements ({})", describe(prediction));
}

void check_cross_entropy(const Tensor& logits, const Tensor& labels) {
  check(logits.rank() == 2 && logits.numel() > 0, "cross_entropy: logits [N, K] expected, got {}", describe(logits));
  check(labels.shape() == Shape{logits.dim(0)} && labels.dtype() == Dtype::i64,
        "cross_entropy: labels i64[{}] expected, got {}", logits.dim(0), describe(labels));
}

void check_upstream(const char* operation, const Tensor& dy, const Tensor& x) {
  check(dy.numel() == 1 && dy.dtype() == x.dtype(), "{}: gradient {} for one number of {}", operation, describe(dy),
        name_of(x.dtype()));
}

}  // namespace

Tensor mse(const Tensor& prediction, const Tensor& target) {
  check_mse(prediction, target);
  Tensor y(Shape(), prediction.dtype(), prediction.device());
  launch<&cpu::mse, &cuda::mse>(prediction.device(), y, prediction, target);
  return y;
}

Tensor mse_backward(const Tensor& dy, const Tensor& prediction, const Tensor& target) {
  check_mse(prediction, target);
  check_upstream("mse", dy, prediction);
  Tensor dprediction = empty_like(prediction);
  launch<&cpu::mse_backward, &cuda::mse_backward>(prediction.device(), dprediction, dy, prediction, target);
  return dprediction;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  check_cross_entropy(logits, labels);
  Tensor y(Shape(), logits.dtype(), logits.device());
  launch<&cpu::cross_entropy, &cuda::cross_entropy>(logits.device(), y, logits, labels);
  return y;
}

Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& labels) {
  check_cross_entropy(logits, labels);
  check_upstream("cross_entropy", dy, logits);
  Tensor dlogits = empty_like(logits);
  launch<&cpu::cross_entropy_backward, &cuda::cross_entropy_backward>(logits.device(), dlogits, dy, logits, labels);
  return dlogits;
}

}  // namespace stipple::kernels
