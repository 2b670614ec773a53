#pragma once
#include "kernels/cuda/conv2d/correlation.h"

// The ladder of conv2d, one file a rung. x, dy, weights and what else is added are all f32 or all bf16; bias and
// gradients of parameters are f32.

namespace stipple::cuda {

namespace naive {
void conv2d(Tensor& y, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>&,
            const Correlation&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation&);
void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation&);
}  // namespace naive

namespace tiled {
void conv2d(Tensor& y, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>&,
            const Correlation&);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation&);
void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation&);
}  // namespace tiled

// On tensor cores. f32 goes through them in three tf32 products, or in one where `tf32`.
namespace mma {
bool takes(const Correlation&);  // filters of up to 16 taps; upsampling counts one more a side
void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>&,
            const Correlation&, bool tf32);
void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation&, bool tf32);
void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation&, bool tf32);
}  // namespace mma

}  // namespace stipple::cuda
