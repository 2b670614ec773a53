#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/conv2d/turned_weight.h"
#include "kernels/cuda/matmul/rungs.h"
#include "kernels/cuda/precision.h"

// matmul, rung mma: on tensor cores, by the kernels of the convolution's rung.
//
// Idea    a [rows, depth] is a picture of one column and `rows` pixels, b^T [columns, depth] so many filters of 1x1:
//         their convolution is a b (conv2d/mma.cu), with its swizzle, its pipeline, and splits of depth where tiles are
//         few. The gradient of a linear layer's weight, a^T b, is the convolution's weight gradient
//         (conv2d/mma_weight.cu), summed over pixels.
// Costs   an operand that lies the other way is transposed first: one copy of it. In a linear layer that is the weight,
//         once in the backward pass.
// Tried   nothing yet that would read it as it lies: ldmatrix transposes 16-bit elements only.

namespace stipple::cuda::mma {
namespace {

Tensor transposed(const Tensor& m) {
  const Phase one(0, 1, 1, 0, 1);
  return turned_weight(m.reshape({m.dim(0), 1, 1, m.dim(1)}), one, one).reshape({m.dim(1), m.dim(0)});
}

// The operand as op() makes it, and its transpose.
Tensor as_multiplied(const MatmulOperand& m) { return m.transpose == Transpose::no ? m.of : transposed(m.of); }
Tensor turned(const MatmulOperand& m) { return m.transpose == Transpose::yes ? m.of : transposed(m.of); }

Correlation pixels_and_filters(int64_t pixels, int64_t filters, int64_t channels) {
  return Correlation({1, pixels, 1, channels}, {filters, 1, 1, channels}, {1, pixels, 1, filters}, {});
}

}  // namespace

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  // Only gradients of parameters are added to what is there, or are f32 where operands are bf16.
  if (c.add || c.to.dtype() != a.of.dtype() || (a.transpose == Transpose::yes && c.to.dtype() == Dtype::f32)) {
    check(!bias && c.to.dtype() == Dtype::f32, "matmul: adds to f32 only, and without a bias, got {}", describe(c.to));
    return conv2d_weight_gradient(c, turned(a), as_multiplied(b),
                                  pixels_and_filters(size.depth, size.rows, size.columns), allows_tf32());
  }
  Conv2dOut out{c.to, {}};
  conv2d(out, as_multiplied(a), turned(b), {bias}, pixels_and_filters(size.rows, size.columns, size.depth),
         allows_tf32());
}

}  // namespace stipple::cuda::mma
