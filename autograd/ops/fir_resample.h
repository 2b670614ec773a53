#pragma once
#include "autograd/var.h"

namespace stipple {

// Maps of half and of twice the size, smoothed by [1, 3, 3, 1]; kernels/fir_resample.h says more.
Var fir_downsample(const Var& x);  // [N, H, W, C] -> [N, H/2, W/2, C]
Var fir_upsample(const Var& x);    // [N, H, W, C] -> [N, 2H, 2W, C]

}  // namespace stipple
