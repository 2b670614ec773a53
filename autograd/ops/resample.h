#pragma once
#include "autograd/var.h"

// Changing the size of maps, NHWC.

namespace stipple {

Var upsample_nearest(const Var& x);            // [N, H, W, C] -> [N, 2H, 2W, C]
Var avg_pool2d(const Var& x, int64_t kernel);  // means of kernel x kernel squares: [N, H, W, C] -> [N, H/k, W/k, C]
Var max_pool2d(const Var& x, int64_t kernel);  // their largest elements

}  // namespace stipple
