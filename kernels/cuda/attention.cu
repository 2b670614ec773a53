#include "kernels/attention.h"
#include "kernels/concat.h"
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

// Heads that are not whole chunks of 16 bytes get columns of zeros, which change no score, and results lose them again.
struct WholeHeads {
  int64_t heads, width, padding;

  WholeHeads(const Tensor& q, int64_t head_count) : heads(head_count), width(q.dim(2) / head_count) {
    const int64_t chunk = 16 / static_cast<int64_t>(size_of(q.dtype()));
    padding = (chunk - width % chunk) % chunk;
  }

  Shape shape(const Tensor& x, int64_t of_head) const { return {x.dim(0), x.dim(1), heads, of_head}; }
  Tensor like(const Tensor& x) const {
    return Tensor({x.dim(0), x.dim(1), heads * (width + padding)}, x.dtype(), x.device());
  }
  Tensor padded(const Tensor& x) const {
    if (padding == 0) return x;
    const Tensor y = like(x);
    Tensor rows = y.reshape(shape(x, width + padding));
    concat_channels(rows, x.reshape(shape(x, width)), Tensor::zeros(shape(x, padding), x.dtype(), x.device()));
    return y;
  }
  // Where a result goes first, and from there; undefined where it is not wanted.
  Tensor destination(const Tensor& result) const { return padding && result ? like(result) : result; }
  void take(const Tensor& result, const Tensor& from) const {
    if (padding && result)
      split_channels({result.reshape(shape(result, width)), {}}, from.reshape(shape(result, width + padding)), width);
  }
};

void nothing_attended(const AttentionGrads& to) {
  if (to.dk) to.dk.fill(0);
  if (to.dv) to.dv.fill(0);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  if (out.y.numel() == 0) return;
  AttentionExtents e(q, k, heads);
  const std::string_view rung = chosen(e);
  if (rung == "naive") return naive::attention(out, q, k, v, e);
  const WholeHeads whole(q, heads);
  e.width += whole.padding;
  AttentionOut to{whole.destination(out.y), out.lse};
  const auto forward = rung == "wide" ? wide::attention : flash::attention;
  forward(to, whole.padded(q), whole.padded(k), whole.padded(v), e, allows_tf32());
  whole.take(out.y, to.y);
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  if (dy.numel() == 0) return nothing_attended(to);
  AttentionExtents e(q, k, heads);
  const std::string_view rung = chosen(e);
  if (rung == "naive") return naive::attention_backward(to, dy, q, k, v, out, e);
  const WholeHeads whole(q, heads);
  e.width += whole.padding;
  const AttentionGrads into{whole.destination(to.dq), whole.destination(to.dk), whole.destination(to.dv)};
  const auto backward = rung == "wide" ? wide::attention_backward : flash::attention_backward;
  backward(into, whole.padded(dy), whole.padded(q), whole.padded(k), whole.padded(v), {whole.padded(out.y), out.lse}, e,
           allows_tf32());
  whole.take(to.dq, into.dq), whole.take(to.dk, into.dk), whole.take(to.dv, into.dv);
}

}  // namespace stipple::cuda
