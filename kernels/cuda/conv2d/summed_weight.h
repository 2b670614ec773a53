#pragma once
#include "kernels/cuda/conv2d/correlation.h"

// Convolution of a map that is made twice as large by nearest neighbours, without the large map: taps of the filter
// that fall on the same small pixel are added up first.
//
// Along an axis, tap r of large pixel h of y meets large pixel h + r - top of x, which is small pixel (h + r - top) / 2
// rounded down. Pixels h and h + 1 of y therefore see a small pixel through the taps of
//   e[t] = w[t - 1] + w[t],  t = 0 .. R, where w[-1] = w[R] = 0,
// every other one of which belongs to even and to odd pixels of y. In other words, y is what the input gradient is of a
// convolution with stride 2 that has the R + 1 taps e in reverse order and padding R - 1 - top; and so
//   forward           is that input gradient: four correlations of the small map, one for each parity of y's pixels,
//   the gradient of x is that convolution, of dy,
//   that of w         is that convolution's weight gradient de, and dw[r] = de[r] + de[r + 1].
//
// Costs   a 3x3 filter takes 4 x 4 products for each small pixel instead of 4 x 9, four ninths; the sums, 16/9 of the
//         weight, are written and read once a pass. Forward is four launches a quarter as large.
// Rounds  in f32 as the products do. In bf16 a sum of weights is rounded once more, by as much as y itself is on its
//         way out: 2.3e-3 off where y alone makes 1.6e-3 (relative L2, 64 channels; 2.9e-3 and 2.3e-3 beside weights
//         that were never rounded). dweight is not, whose sums are f32.
// Not taken  reading the large map at half its coordinates, with no sums to round and 9/4 of the work.

namespace stipple::cuda {

// That convolution with stride 2, from y to x; g is the one over the large map.
inline Correlation halving(const Correlation& g) {
  return {{g.images, g.rows, g.columns, g.filters},
          {g.c, g.r + 1, g.s + 1, g.filters},
          {g.images, g.h, g.w, g.c},
          {2, {.top = g.r - 1 - g.top, .left = g.s - 1 - g.left}}};
}

// Taps e[first], e[first + step], ... of an axis.
struct SummedTaps {
  int first, step, count;
};

// weight [K, R, S, C] -> the sums [K, h.count, w.count, C]; in bf16 each is rounded once.
Tensor summed_weight(const Tensor& weight, const SummedTaps& h, const SummedTaps& w);

// dweight from the gradient of all sums, f32 [C, R + 1, S + 1, K] with taps in reverse order.
void spread_weight_gradient(const Grad& dweight, const Tensor& dsums);

}  // namespace stipple::cuda
