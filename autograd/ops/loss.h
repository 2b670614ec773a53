#pragma once
#include "autograd/var.h"

namespace stipple {

Var mse(const Var& prediction, const Tensor& target);  // mean over all elements of the squared difference, a scalar
Var cross_entropy(const Var& logits, const Tensor& labels);  // logits [N, K], labels i64 [N]; mean over N, a scalar

}  // namespace stipple
