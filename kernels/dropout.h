#pragma once
#include "tensor/tensor.h"

// Dropout. Srivastava et al. 2014, JMLR 15.
//
//   y[i] = 0 with probability p, else x[i] / (1 - p)
//
// Whether element i is kept is decided by word i % 4 of block offset + i / 4 of a Philox stream (tensor/philox.h): kept
// where its upper 24 bits, as a fraction, are at least p. So no mask is stored: the gradient is dropout(dy) with the
// same options. f32 and f64, the same elements in both.

namespace stipple {

struct DropoutOptions {
  double p;  // in [0, 1)
  uint64_t seed = 0, offset = 0;
  Tensor device_seed =
      {};  // i64 []; on CUDA instead of `seed`, read when the kernel runs: a graph draws anew each time
};

namespace kernels {
Tensor dropout(const Tensor& x, const DropoutOptions&);
}

namespace cpu {
void dropout(Tensor& y, const Tensor& x, const DropoutOptions&);
}

namespace cuda {
void dropout(Tensor& y, const Tensor& x, const DropoutOptions&);
}

}  // namespace stipple
