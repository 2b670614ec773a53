#include "kernels/conv2d.h"

#include "kernels/arithmetic.h"
#include "kernels/launch.h"

namespace stipple {

Shape conv2d_shape(const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  check(x.rank() == 4 && weight.rank() == 4, "conv2d: x {} and weight {} must have four dimensions (NHWC, OHWI)",
        to_string(x), to_string(weight));
  check(x[3] == weight[3], "conv2d: input has {} channels, the weight expects {} (x {}, weight {})", x[3], weight[3],
        to_string(x), to_string(weight));
  check(!o.upsample || (o.stride == 1 && o.padding.top < weight[1] && o.padding.left < weight[2]),
        "conv2d: an upsampled map takes stride 1 and less padding than weight {} has taps", to_string(weight));
  const int64_t scale = o.upsample ? 2 : 1;
  const int64_t height = scale * x[1] + o.padding.top + o.padding.bottom - weight[1];
  const int64_t width = scale * x[2] + o.padding.left + o.padding.right - weight[2];
  check(height >= 0 && width >= 0 && o.stride >= 1, "conv2d: a {}x{} filter with stride {} does not fit into {}",
        weight[1], weight[2], o.stride, to_string(x));
  return {x[0], height / o.stride + 1, width / o.stride + 1, weight[0]};
}

namespace kernels {
namespace {

// What goes with y has its dtype; undefined is fine.
void check_like(const char* name, const Tensor& given, const Shape& expected, const Tensor& y) {
  check(!given || (given.shape() == expected && given.dtype() == y.dtype()), "conv2d: {} {} for output {}", name,
        describe(given), describe(y));
}

void check_epilogue(const Conv2dEpilogue<Tensor>& e, const Tensor& y, const Tensor& weight) {
  check(!e.bias || e.bias.shape() == Shape{weight.dim(0)}, "conv2d: bias {} for weight {}", describe(e.bias),
        describe(weight));
  check_like("time embedding", e.time_embedding, {y.dim(0), y.dim(3)}, y);
  check_like("residual", e.residual, y.shape(), y);
  check(e.output_scale_factor != 0, "conv2d: the output scale factor is 0");
}

// The channels of a weight that belong to the first and to the second of two inputs.
Concat<Tensor> parted(const Tensor& weight, int64_t a_channels, Dtype dtype) {
  const auto part = [&](int64_t channels) {
    return Tensor({weight.dim(0), weight.dim(1), weight.dim(2), channels}, dtype, weight.device());
  };
  return {part(a_channels), part(weight.dim(3) - a_channels)};
}

void input_gradient(Tensor dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  const Shape expected = conv2d_shape(dx.shape(), weight.shape(), o);
  check(dy.shape() == expected, "conv2d: gradient {}, expected {}", describe(dy), to_string(expected));
  launch<&cpu::conv2d_input_gradient, &cuda::conv2d_input_gradient>(dy.device(), dx, dy, weight, o);
}

void gradients(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions& o) {
  launch<&cpu::conv2d_weight_gradient, &cuda::conv2d_weight_gradient>(dy.device(), to, dy, x, o);
}

void weight_gradient_over_two(const Grad& to, const Tensor& dy, const Concat<Tensor>& x, const Conv2dOptions& o) {
  const Concat<Tensor> dweight = parted(to.to, x.a.dim(-1), to.to.dtype());
  gradients({{dweight.a}}, dy, x.a, o);
  gradients({{dweight.b}}, dy, x.b, o);
  const Tensor whole = concat_channels(dweight);
  to.add ? accumulate(to.to, whole) : to.to.copy_from(whole);
}

}  // namespace

Conv2dOut conv2d(const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
                 const Conv2dOptions& o) {
  Conv2dOut out{Tensor(conv2d_shape(concat_shape(x), weight.shape(), o), x.a.dtype(), x.a.device()), {}};
  check(weight.dtype() == x.a.dtype(), "conv2d: x is {}, the weight {}", describe(x.a), describe(weight));
  check_epilogue(e, out.y, weight);
  launch<&cpu::conv2d, &cuda::conv2d>(x.a.device(), out, x, weight, e, o);
  return out;
}

Tensor conv2d_input_gradient(const Tensor& dy, const Tensor& weight, const Shape& x, const Conv2dOptions& o) {
  const Tensor dx(x, dy.dtype(), dy.device());
  input_gradient(dx, dy, weight, o);
  return dx;
}

void conv2d_input_gradient(const Concat<Tensor>& dx, int64_t a_channels, const Tensor& dy, const Tensor& weight,
                           const Conv2dOptions& o) {
  if (a_channels == weight.dim(3)) return input_gradient(dx.a, dy, weight, o);
  const Concat<Tensor> weights = parted(weight, a_channels, weight.dtype());
  split_channels(weights, weight, a_channels);
  if (dx.a.defined()) input_gradient(dx.a, dy, weights.a, o);
  if (dx.b.defined()) input_gradient(dx.b, dy, weights.b, o);
}

void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Conv2dOptions& o) {
  if (to.dweight.wanted()) {
    const Shape expected = conv2d_shape(concat_shape(x), to.dweight.to.shape(), o);
    check(dy.shape() == expected, "conv2d: gradient {}, expected {}", describe(dy), to_string(expected));
  }
  check(!to.dbias.wanted() || to.dbias.to.shape() == Shape{dy.dim(3)}, "conv2d: bias gradient {} for dy {}",
        describe(to.dbias.to), describe(dy));
  check_like("gradient of the time embedding", to.dtime_embedding, {dy.dim(0), dy.dim(3)}, dy);
  if (!to.dweight.wanted() || !x.b.defined()) return gradients(to, dy, x.a, o);
  weight_gradient_over_two(to.dweight, dy, x, o);
  gradients({{}, to.dbias, to.dtime_embedding}, dy, x.a, o);
}

}  // namespace kernels
}  // namespace stipple
