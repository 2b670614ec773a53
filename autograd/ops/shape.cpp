#include "autograd/ops/shape.h"

#include "kernels/arithmetic.h"
#include "kernels/concat.h"

namespace stipple {
namespace {

Tensor zeros_with_channels(const Tensor& x, int64_t channels) {
  Shape shape(x.shape().begin(), x.shape().end() - 1);
  shape.push_back(channels);
  return Tensor::zeros(shape, x.dtype(), x.device());
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape), {x},
                [from = x.shape()](const Tensor& dy, Destinations& to) { to.set(0, dy.reshape(from)); });
}

Var broadcast_to(const Var& x, const Shape& shape) {
  return record("broadcast_to", kernels::broadcast_to(x.value(), shape), {x},
                [from = x.shape()](const Tensor& dy, Destinations& to) { to.set(0, kernels::sum_to(dy, from)); });
}

Var slice(const Var& x, int64_t begin, int64_t end) {
  return record("slice", x.value().slice(begin, end), {x},
                [begin, end, from = x.shape()](const Tensor& dy, Destinations& to) {
                  const Tensor dx = Tensor::zeros(from, dy.dtype(), dy.device());
                  dx.slice(begin, end).copy_from(dy);
                  to.set(0, dx);
                });
}

Var concat_channels(const Var& a, const Var& b) {
  return record(
      "concat_channels", kernels::concat_channels(a.value(), b.value()), {a, b},
      [a = a.shape(), b = b.shape()](const Tensor& dy, Destinations& to) {
        kernels::split_channels({to.activation(0, a, dy.dtype()), to.activation(1, b, dy.dtype())}, dy, a[-1]);
      });
}

std::pair<Var, Var> split_channels(const Var& x, int64_t first) {
  const int64_t rest = x.dim(-1) - first;
  check(first > 0 && rest > 0, "split_channels: cannot take {} channels off {}", first, describe(x.value()));
  const Tensor left = zeros_with_channels(x.value(), first), right = zeros_with_channels(x.value(), rest);
  kernels::split_channels({left, right}, x.value(), first);
  // Each half's gradient is padded with zeros to the whole; the engine adds the two.
  const Var y = record("split_channels", left, {x}, [rest](const Tensor& dy, Destinations& to) {
    to.set(0, kernels::concat_channels(dy, zeros_with_channels(dy, rest)));
  });
  const Var z = record("split_channels", right, {x}, [first](const Tensor& dy, Destinations& to) {
    to.set(0, kernels::concat_channels(zeros_with_channels(dy, first), dy));
  });
  return {y, z};
}

}  // namespace stipple
