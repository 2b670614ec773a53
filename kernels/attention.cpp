#include "kernels/attention.h"

#include "kernels/launch.h"

namespace stipple::kernels {

AttentionOut attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  check(q.rank() == 3 && k.rank() == 3 && k.shape() == v.shape() && q.dim(0) == k.dim(0) && q.dim(2) == k.dim(2),
        "attention: q {}, k {}, v {} do not fit ([N, tokens, channels] expected)", describe(q), describe(k),
        describe(v));
  check(heads >= 1 && q.dim(2) % heads == 0, "attention: {} channels do not divide into {} heads", q.dim(2), heads);
  check(k.dim(1) >= 1, "attention: there are no keys to attend to (k {})", describe(k));
  const Dtype of_sums = q.dtype() == Dtype::bf16 ? Dtype::f32 : q.dtype();
  AttentionOut out{empty_like(q), Tensor({q.dim(0), heads, q.dim(1)}, of_sums, q.device())};
  launch<&cpu::attention, &cuda::attention>(q.device(), out, q, k, v, heads);
  return out;
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  check(dy.shape() == q.shape(), "attention: gradient {} for q {}", describe(dy), describe(q));
  launch<&cpu::attention_backward, &cuda::attention_backward>(q.device(), to, dy, q, k, v, out, heads);
}

}  // namespace stipple::kernels
