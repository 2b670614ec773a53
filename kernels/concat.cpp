#include "kernels/concat.h"

#include "kernels/launch.h"

namespace stipple {
namespace {

Shape with_channels(const Tensor& x, int64_t channels) {
  Shape shape(x.shape().begin(), x.shape().end() - 1);
  shape.push_back(channels);
  return shape;
}

void check_part(const Tensor& part, const Tensor& whole, int64_t channels) {
  check(!part.defined() || (part.shape() == with_channels(whole, channels) && part.dtype() == whole.dtype()),
        "split_channels: {} does not hold {} channels of {}", describe(part), channels, describe(whole));
}

}  // namespace

Shape concat_shape(const Concat<Tensor>& x) {
  const auto& [a, b] = x;
  if (!b.defined()) return a.shape();
  check(a.rank() >= 1 && a.rank() == b.rank() && a.dtype() == b.dtype() && with_channels(a, b.dim(-1)) == b.shape(),
        "concat_channels: {} and {} differ in more than their channels", describe(a), describe(b));
  return with_channels(a, x.channels());
}

namespace kernels {

Tensor concat_channels(const Concat<Tensor>& x) { return x.b.defined() ? concat_channels(x.a, x.b) : x.a; }

Tensor concat_channels(const Tensor& a, const Tensor& b) {
  Tensor y(concat_shape({a, b}), a.dtype(), a.device());
  launch<&cpu::concat_channels, &cuda::concat_channels>(a.device(), y, a, b);
  return y;
}

void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels) {
  check(dy.rank() >= 1 && a_channels >= 0 && a_channels <= dy.dim(-1), "split_channels: no {} channels in {}",
        a_channels, describe(dy));
  check_part(to.a, dy, a_channels);
  check_part(to.b, dy, dy.dim(-1) - a_channels);
  launch<&cpu::split_channels, &cuda::split_channels>(dy.device(), to, dy, a_channels);
}

}  // namespace kernels
}  // namespace stipple
