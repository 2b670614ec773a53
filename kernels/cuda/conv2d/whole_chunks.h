#pragma once
#include "kernels/cuda/conv2d/correlation.h"

// Tensor cores are fed by copies of 16 bytes. A picture of 1 or 3 channels, or filters for one, is given zeros behind
// its channels first: a small map is copied once, and there is one way to fetch.

namespace stipple::cuda {

// The fewest channels, `c` at least, that are whole chunks of 16 bytes.
inline int64_t in_whole_chunks(int64_t c, Dtype dtype) {
  const auto chunk = static_cast<int64_t>(16 / size_of(dtype));
  return (c + chunk - 1) / chunk * chunk;
}

// x [..., C] with zeros behind the channels; x itself where they are whole chunks.
Tensor in_whole_chunks(const Tensor& x);

// Convolution g of x and weight as these then are.
inline Correlation in_whole_chunks(const Correlation& g, Dtype dtype) {
  Correlation wider = g;
  wider.c = static_cast<int>(in_whole_chunks(g.c, dtype));
  return wider;
}

}  // namespace stipple::cuda
