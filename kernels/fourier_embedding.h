#pragma once
#include "tensor/tensor.h"

// Random Fourier features of the logarithm of a noise level or timestep. Tancik et al. 2020, arXiv:2006.10739; Song et
// al. 2021, arXiv:2011.13456, appendix C.
//
//   y[n] = [sin(2 pi f log t[n]), cos(2 pi f log t[n])]
//
// The angles reach thousands: they are computed in double. Not differentiable.

namespace stipple {

namespace kernels {
Tensor fourier_embedding(const Tensor& t,             // [N], any dtype, positive
                         const Tensor& frequencies);  // f [D]; the result is [N, 2D], of the dtype of f
}

namespace cpu {
void fourier_embedding(Tensor& y, const Tensor& t, const Tensor& frequencies);  // t f64
}

namespace cuda {
void fourier_embedding(Tensor& y, const Tensor& t, const Tensor& frequencies);  // t f64
}

}  // namespace stipple
