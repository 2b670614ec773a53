#pragma once
#include "kernels/cpu/conv2d_geometry.h"

// Rung 1 of conv2d, the oracle: the formulas of kernels/conv2d.h as loops, summed in double. T is float or double.
// Pointers are to whole tensors; `bias` may be null, `add` is Grad's.

namespace stipple::cpu::oracle {

template <typename T>
void conv2d(T* y, const T* x, const T* weight, const T* bias, const ConvGeometry&);
template <typename T>
void conv2d_input_gradient(T* dx, const T* dy, const T* weight, const ConvGeometry&);
template <typename T>
void conv2d_weight_gradient(T* dweight, bool add, const T* dy, const T* x, const ConvGeometry&);
template <typename T>
void conv2d_bias_gradient(T* dbias, bool add, const T* dy, int64_t pixels, int64_t k);

}  // namespace stipple::cpu::oracle
