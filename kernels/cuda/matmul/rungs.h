#pragma once
#include "kernels/matmul.h"

// The ladder of matmul, one file a rung: c[row, column] = sum over depth of a[row, depth] b[depth, column]
// (+ bias[column]) (+ what is there). a and b are both f32 or both bf16, row-major or transposed; c is like them, or
// f32 (the gradient of a parameter). Sums are f32.

namespace stipple::cuda {

struct MatmulOperand {
  Tensor of;
  Transpose transpose;
};

struct MatmulSizes {
  int rows, columns, depth;
};

// c [rows, columns] is not empty; bias f32 [columns], or undefined.
namespace naive {
void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias, const MatmulSizes&);
}
namespace tiled {
void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias, const MatmulSizes&);
}
// Depth is not 0. f32 goes through tensor cores in three tf32 products, or in one where cuda::allows_tf32().
namespace mma {
void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias, const MatmulSizes&);
}
// NVIDIA's library; only in builds by nvcc. Depth is not 0. The bias may be like c, too, and is rounded to that if not.
namespace cublaslt {
void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias, const MatmulSizes&);
}

}  // namespace stipple::cuda
