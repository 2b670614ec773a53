#pragma once
#include "tensor/tensor.h"

// The border between the channels-first files and arrays of other programs and our channels-last tensors. Any dtype;
// the result is a new tensor.

namespace stipple {

Tensor to_channels_last(const Tensor&);   // [A,B,...] -> [A,...,B]: NCHW -> NHWC, OIHW -> OHWI
Tensor to_channels_first(const Tensor&);  // [A,...,B] -> [A,B,...]: NHWC -> NCHW, OHWI -> OIHW

// The former out of elements of to's dtype, which may lie anywhere in a file, into to [A,...,B].
void read_channels_first(const Tensor& to, const std::byte* from);

}  // namespace stipple
