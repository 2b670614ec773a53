#include "kernels/fourier_embedding.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor fourier_embedding(const Tensor& t, const Tensor& frequencies) {
  check(t.rank() == 1 && frequencies.rank() == 1,
        "fourier_embedding: timesteps [N] and frequencies [D] expected, got {} and {}", describe(t),
        describe(frequencies));
  Tensor y({t.dim(0), 2 * frequencies.dim(0)}, frequencies.dtype(), frequencies.device());
  launch<&cpu::fourier_embedding, &cuda::fourier_embedding>(y.device(), y, t.to(Dtype::f64), frequencies);
  return y;
}

}  // namespace stipple::kernels
