#include "kernels/attention.h"
#include "kernels/cuda/attention/rungs.h"
#include "kernels/cuda/precision.h"
#include "kernels/launch.h"

// attention: the ladder's rungs are in attention/. STIPPLE_ATTENTION_CUDA=naive|flash takes one for all.

namespace stipple::cuda {
namespace {

std::string_view chosen() { return rung("ATTENTION_CUDA", {"naive", "flash"}); }

void nothing_attended(const AttentionGrads& to) {
  if (to.dk) to.dk.fill(0);
  if (to.dv) to.dv.fill(0);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  if (out.y.numel() == 0) return;
  const AttentionExtents e(q, k, heads);
  const std::string_view rung = chosen();
  rung == "naive" ? naive::attention(out, q, k, v, e) : flash::attention(out, q, k, v, e, allows_tf32());
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  if (dy.numel() == 0) return nothing_attended(to);
  naive::attention_backward(to, dy, q, k, v, out, AttentionExtents(q, k, heads));
}

}  // namespace stipple::cuda
