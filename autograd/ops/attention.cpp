#include "autograd/ops/attention.h"

#include "kernels/attention.h"

namespace stipple {

Var attention(const Var& q, const Var& k, const Var& v, int64_t heads) {
  const AttentionOut out = kernels::attention(q.value(), k.value(), v.value(), heads);
  const auto keep = [any = q.requires_grad() || k.requires_grad() || v.requires_grad()](const Tensor& t) {
    return save_if(any, t);
  };
  return record("attention", out.y, {q, k, v},
                [heads, q = keep(q.value()), k = keep(k.value()), v = keep(v.value()),
                 out = AttentionOut{keep(out.y), keep(out.lse)}](const Tensor& dy, Destinations& to) {
                  kernels::attention_backward({to.activation(0, q), to.activation(1, k), to.activation(2, v)}, dy, q, k,
                                              v, out, heads);
                });
}

}  // namespace stipple
