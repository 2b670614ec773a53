#pragma once
#include "tensor/tensor.h"

// Losses: one number, shape [], the mean over the batch. Sums in double over fixed pieces: the same bits for any number
// of threads. f32 and f64.
//   mse            1/n sum (prediction - target)^2 over all n elements       d prediction = dy 2/n (prediction -
//   target) cross_entropy  1/N sum_i (log sum_k exp logits[i,k] - logits[i,label_i])  d logits = dy/N (softmax(logits)
//   - one_hot(label))

namespace stipple {

namespace kernels {
Tensor mse(const Tensor& prediction, const Tensor& target);  // same shape
Tensor mse_backward(const Tensor& dy,                        // []
                    const Tensor& prediction, const Tensor& target);

// A label outside [0, K) is an error; on CUDA, where finding one would make the host wait, the loss is NaN.
Tensor cross_entropy(const Tensor& logits,   // [N, K]
                     const Tensor& labels);  // i64 [N]
Tensor cross_entropy_backward(const Tensor& dy, const Tensor& logits, const Tensor& labels);
}  // namespace kernels

namespace cpu {
void mse(Tensor& y, const Tensor& prediction, const Tensor& target);
void mse_backward(Tensor& dprediction, const Tensor& dy, const Tensor& prediction, const Tensor& target);
void cross_entropy(Tensor& y, const Tensor& logits, const Tensor& labels);
void cross_entropy_backward(Tensor& dlogits, const Tensor& dy, const Tensor& logits, const Tensor& labels);
}  // namespace cpu

namespace cuda {
void mse(Tensor& y, const Tensor& prediction, const Tensor& target);
void mse_backward(Tensor& dprediction, const Tensor& dy, const Tensor& prediction, const Tensor& target);
void cross_entropy(Tensor& y, const Tensor& logits, const Tensor& labels);
void cross_entropy_backward(Tensor& dlogits, const Tensor& dy, const Tensor& logits, const Tensor& labels);
}  // namespace cuda

}  // namespace stipple
