#pragma once
#include "tensor/tensor.h"

// Concatenation along the channels, the last dimension, and its backward: the split.

namespace stipple {

struct ConcatGrads {  // undefined = not wanted
  Tensor da, db;
};

namespace kernels {
Tensor concat_channels(const Tensor& a, const Tensor& b);  // [..., Ca], [..., Cb] -> [..., Ca+Cb]
void split_channels(const ConcatGrads& to, const Tensor& dy, int64_t a_channels);  // dy [..., Ca+Cb]
}  // namespace kernels

namespace cpu {
void concat_channels(Tensor& y, const Tensor& a, const Tensor& b);
void split_channels(const ConcatGrads& to, const Tensor& dy, int64_t a_channels);
}  // namespace cpu

namespace cuda {
void concat_channels(Tensor& y, const Tensor& a, const Tensor& b);
void split_channels(const ConcatGrads& to, const Tensor& dy, int64_t a_channels);
}  // namespace cuda

}  // namespace stipple
