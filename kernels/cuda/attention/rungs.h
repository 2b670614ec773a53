#pragma once
#include <cmath>

#include "kernels/attention.h"

// The ladder of attention, one file a rung. Tensors are all f32 or all bf16; lse is f32. There is a query, and there
// are keys and channels.

namespace stipple::cuda {

struct AttentionExtents {
  int64_t images, queries, keys, heads, width;  // width: channels of a head
  float scale;                                  // of scores

  AttentionExtents(const Tensor& q, const Tensor& k, int64_t head_count)
      : images(q.dim(0)),
        queries(q.dim(1)),
        keys(k.dim(1)),
        heads(head_count),
        width(q.dim(2) / head_count),
        scale(static_cast<float>(1 / std::sqrt(static_cast<double>(width)))) {}
  int64_t rows() const { return images * heads * queries; }  // of P
};

namespace naive {
void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents&);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents&);
}  // namespace naive

// On tensor cores, 16 bytes at a time: the width is a whole number of those. f32 goes through them in three tf32
// products, or in one where `tf32`.

// S and P in memory, for heads of any width.
namespace wide {
void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents&,
               bool tf32);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents&, bool tf32);
}  // namespace wide

// No P in memory.
namespace flash {
inline constexpr int64_t kWidest = 256;  // heads it takes
void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionExtents&,
               bool tf32);
void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const AttentionExtents&, bool tf32);
}  // namespace flash

}  // namespace stipple::cuda
