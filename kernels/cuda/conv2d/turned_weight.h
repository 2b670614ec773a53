#pragma once
#include "kernels/cuda/conv2d/correlation.h"

// The input gradient of a convolution with stride t is t * t correlations of the upstream gradient, one for each parity
// of (h, w): only taps of that parity reach such a pixel.

namespace stipple::cuda {

// One axis of them: pixels h with (h + padding) % stride == phase, and the taps r = phase + stride * i that reach them,
// from upstream element q - i where h + padding = phase + stride * q.
struct Phase {
  int phase, stride, taps, first_q, first, outputs;

  Phase(int phase_, int stride_, int filter, int padding, int extent)
      : phase(phase_),
        stride(stride_),
        taps(phase < filter ? (filter - phase - 1) / stride + 1 : 0),
        first_q((padding - phase + stride - 1) / stride),
        first(stride * first_q + phase - padding),
        outputs(first < extent ? (extent - first - 1) / stride + 1 : 0) {}
  int padding() const { return taps - 1 - first_q; }  // of the window over the upstream gradient
};

// weight [K, R, S, C] as [C, taps of h, taps of w, K], taps in reverse order.
Tensor turned_weight(const Tensor& weight, const Phase& h, const Phase& w);

}  // namespace stipple::cuda
