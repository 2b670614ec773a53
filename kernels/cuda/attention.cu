#include "kernels/attention.h"
#include "kernels/cuda/attention/rungs.h"
#include "kernels/cuda/precision.h"
#include "kernels/launch.h"

// attention: the ladder's rungs are in attention/. STIPPLE_ATTENTION_CUDA=naive|wide|flash|fastest takes one for all;
// fastest, the default, is flash, and wide for heads wider than flash takes.

namespace stipple::cuda {
namespace {

std::string_view chosen(const AttentionExtents& e) {
  const std::string_view wanted = rung("ATTENTION_CUDA", {"naive", "wide", "flash", "fastest"});
  if (wanted != "fastest") return wanted;
  return e.width <= flash::kWidest ? "flash" : "wide";
}

void nothing_attended(const AttentionGrads& to) {
  if (to.dk) to.dk.fill(0);
  if (to.dv) to.dv.fill(0);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  if (out.y.numel() == 0) return;
  const AttentionExtents e(q, k, heads);
  const std::string_view rung = chosen(e);
  if (rung == "naive") return naive::attention(out, q, k, v, e);
  rung == "wide" ? wide::attention(out, q, k, v, e, allows_tf32()) : flash::attention(out, q, k, v, e, allows_tf32());
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  if (dy.numel() == 0) return nothing_attended(to);
  const AttentionExtents e(q, k, heads);
  const std::string_view rung = chosen(e);
  if (rung == "naive") return naive::attention_backward(to, dy, q, k, v, out, e);
  const auto backward = rung == "wide" ? wide::attention_backward : flash::attention_backward;
  backward(to, dy, q, k, v, out, e, allows_tf32());
}

}  // namespace stipple::cuda
