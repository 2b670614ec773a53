#pragma once
#include "tensor/tensor.h"

// The border between the channels-first files and arrays of other programs and our channels-last tensors. Any dtype;
// the result is a new tensor.

namespace stipple {

Tensor to_channels_last(const Tensor&);   // [A,B,...] -> [A,...,B]: NCHW -> NHWC, OIHW -> OHWI
Tensor to_channels_first(const Tensor&);  // [A,...,B] -> [A,B,...]: NHWC -> NCHW, OHWI -> OIHW

}  // namespace stipple
