#include "autograd/ops/fir_resample.h"

#include "kernels/fir_resample.h"

namespace stipple {

Var fir_downsample(const Var& x) {
  return record("fir_downsample", kernels::fir_downsample(x.value()), {x},
                [](const Tensor& dy, Destinations& to) { to.set(0, kernels::fir_upsample(dy, 0.25)); });
}

Var fir_upsample(const Var& x) {
  return record("fir_upsample", kernels::fir_upsample(x.value()), {x},
                [](const Tensor& dy, Destinations& to) { to.set(0, kernels::fir_downsample(dy, 4)); });
}

}  // namespace stipple
