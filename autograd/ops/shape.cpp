#include "autograd/ops/shape.h"

#include "kernels/arithmetic.h"
#include "kernels/concat.h"

namespace stipple {

Var reshape(const Var& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape), {x},
                [from = x.shape()](const Tensor& dy, Destinations& to) { to.set(0, dy.reshape(from)); });
}

Var broadcast_to(const Var& x, const Shape& shape) {
  return record("broadcast_to", kernels::broadcast_to(x.value(), shape), {x},
                [from = x.shape()](const Tensor& dy, Destinations& to) { to.set(0, kernels::sum_to(dy, from)); });
}

Var concat_channels(const Var& a, const Var& b) {
  return record("concat_channels", kernels::concat_channels(a.value(), b.value()), {a, b},
                [first = a.dim(-1)](const Tensor& dy, Destinations& to) {
                  auto [da, db] = kernels::split_channels(dy, first);
                  to.set(0, da);
                  to.set(1, db);
                });
}

std::pair<Var, Var> split_channels(const Var& x, int64_t first) {
  const auto [left, right] = kernels::split_channels(x.value(), first);
  // Each half's gradient is padded with zeros to the whole; the engine adds the two.
  auto half = [&](const Tensor& y, bool is_left) {
    return record("split_channels", y, {x}, [is_left, whole = x.dim(-1)](const Tensor& dy, Destinations& to) {
      Shape other(dy.shape().begin(), dy.shape().end() - 1);
      other.push_back(whole - dy.dim(-1));
      const Tensor zeros = Tensor::zeros(other, dy.dtype(), dy.device());
      to.set(0, is_left ? kernels::concat_channels(dy, zeros) : kernels::concat_channels(zeros, dy));
    });
  };
  return {half(left, true), half(right, false)};
}

}  // namespace stipple
