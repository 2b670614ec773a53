#include "autograd/ops/dropout.h"

#include "autograd/random_stream.h"
#include "kernels/dropout.h"

namespace stipple {

Var dropout(const Var& x, double p) {
  const auto from = p == 0 ? std::nullopt : RandomStream::take((x.value().numel() + 3) / 4);
  if (!from) return x;
  const DropoutOptions o{p, from->seed, from->offset, from->device_seed};
  return record("dropout", kernels::dropout(x.value(), o), {x},
                [o](const Tensor& dy, Destinations& to) { to.set(0, kernels::dropout(dy, o)); });
}

}  // namespace stipple
