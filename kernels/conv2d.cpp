#include "kernels/conv2d.h"

#include "kernels/launch.h"

namespace stipple {

Shape conv2d_shape(const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  check(x.rank() == 4 && weight.rank() == 4, "conv2d: x {} and weight {} must have four dimensions (NHWC, OHWI)",
        to_string(x), to_string(weight));
  check(x[3] == weight[3], "conv2d: input has {} channels, the weight expects {} (x {}, weight {})", x[3], weight[3],
        to_string(x), to_string(weight));
  const int64_t height = x[1] + o.padding.top + o.padding.bottom - weight[1];
  const int64_t width = x[2] + o.padding.left + o.padding.right - weight[2];
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

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e, const Conv2dOptions& o) {
  Tensor y(conv2d_shape(x.shape(), weight.shape(), o), x.dtype(), x.device());
  check(weight.dtype() == x.dtype(), "conv2d: x is {}, the weight {}", describe(x), describe(weight));
  check_epilogue(e, y, weight);
  launch<&cpu::conv2d, &cuda::conv2d>(x.device(), y, x, weight, e, o);
  return y;
}

Tensor conv2d_input_gradient(const Tensor& dy, const Tensor& weight, const Shape& x, const Conv2dOptions& o) {
  const Shape expected = conv2d_shape(x, weight.shape(), o);
  check(dy.shape() == expected, "conv2d: gradient {}, expected {}", describe(dy), to_string(expected));
  Tensor dx(x, dy.dtype(), dy.device());
  launch<&cpu::conv2d_input_gradient, &cuda::conv2d_input_gradient>(dy.device(), dx, dy, weight, o);
  return dx;
}

void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions& o) {
  if (to.dweight.wanted()) {
    const Shape expected = conv2d_shape(x.shape(), to.dweight.to.shape(), o);
    check(dy.shape() == expected, "conv2d: gradient {}, expected {}", describe(dy), to_string(expected));
  }
  check(!to.dbias.wanted() || to.dbias.to.shape() == Shape{dy.dim(3)}, "conv2d: bias gradient {} for dy {}",
        describe(to.dbias.to), describe(dy));
  check_like("gradient of the time embedding", to.dtime_embedding, {dy.dim(0), dy.dim(3)}, dy);
  launch<&cpu::conv2d_weight_gradient, &cuda::conv2d_weight_gradient>(dy.device(), to, dy, x, o);
}

}  // namespace kernels
}  // namespace stipple
