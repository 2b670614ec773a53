#pragma once
#include "tensor/tensor.h"

// Scaled dot-product attention, several heads side by side. Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
//
// Head h owns the columns h*D .. h*D+D-1 of q, k, v and y. For every image and head
//   S = q k^T / sqrt(D)   P = softmax over the keys of S   y = P v
// and lse[t] = log sum_s exp S[t,s] is what the backward pass needs besides q, k, v, y: no T x T matrix is kept.
//
// Backward (Dao et al. 2022, arXiv:2205.14135, B.2), with P recomputed as exp(S - lse) and delta[t] = sum_d dy[t,d] y[t,d]:
//   dv = P^T dy   dS = P (dy v^T - delta)   dq = dS k / sqrt(D)   dk = dS^T q / sqrt(D)

namespace stipple {

struct AttentionOut {
  Tensor y;    // like q
  Tensor lse;  // [N, heads, Tq]; f32 where q is bf16
};

struct AttentionGrads {  // undefined = not wanted
  Tensor dq, dk, dv;
};

namespace kernels {
AttentionOut attention(const Tensor& q,  // [N, Tq, heads*D]
                       const Tensor& k,  // [N, Tk, heads*D]
                       const Tensor& v,  // [N, Tk, heads*D]
                       int64_t heads);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads);
}  // namespace kernels

namespace cpu {
void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads);
}  // namespace cpu

namespace cuda {
void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads);
}  // namespace cuda

}  // namespace stipple
