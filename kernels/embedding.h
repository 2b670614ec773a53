#pragma once
#include "tensor/tensor.h"

// Rows of a table: y[i] = table[indices[i]]. Backward: the gradient of a row is the sum of dy over its occurrences,
// added in the order of i. An index outside [0, R) is an error; on CUDA, where finding one would make the host wait,
// its row is NaN. f32 and f64; the gradient of a bf16 table is f32.

namespace stipple {

namespace kernels {
Tensor embedding(const Tensor& table,     // [R, D]
                 const Tensor& indices);  // i64 [N]; the result is [N, D]
void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices);
}  // namespace kernels

namespace cpu {
void embedding(Tensor& y, const Tensor& table, const Tensor& indices);
void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices);
}  // namespace cpu

namespace cuda {
void embedding(Tensor& y, const Tensor& table, const Tensor& indices);
void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices);
}  // namespace cuda

}  // namespace stipple
