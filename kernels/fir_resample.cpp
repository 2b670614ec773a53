#include "kernels/fir_resample.h"

#include "kernels/launch.h"

namespace stipple::kernels {

Tensor fir_downsample(const Tensor& x, double gain) {
  check(x.rank() == 4 && x.dim(1) % 2 == 0 && x.dim(2) % 2 == 0,
        "fir_downsample: [N, H, W, C] of even height and width expected, got {}", describe(x));
  Tensor y({x.dim(0), x.dim(1) / 2, x.dim(2) / 2, x.dim(3)}, x.dtype(), x.device());
  launch<&cpu::fir_downsample, &cuda::fir_downsample>(x.device(), y, x, gain);
  return y;
}

Tensor fir_upsample(const Tensor& x, double gain) {
  check(x.rank() == 4, "fir_upsample: [N, H, W, C] expected, got {}", describe(x));
  Tensor y({x.dim(0), 2 * x.dim(1), 2 * x.dim(2), x.dim(3)}, x.dtype(), x.device());
  launch<&cpu::fir_upsample, &cuda::fir_upsample>(x.device(), y, x, gain);
  return y;
}

}  // namespace stipple::kernels
