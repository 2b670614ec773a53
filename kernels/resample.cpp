#include "kernels/resample.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_picture(const char* operation, const Tensor& x) {
  check(x.rank() == 4, "{}: [N, H, W, C] expected, got {}", operation, describe(x));
}

Shape pooled(const char* operation, const Shape& x, int64_t kernel) {
  check(x.rank() == 4 && kernel >= 1 && x[1] >= kernel && x[2] >= kernel, "{}: no {}x{} blocks in {}", operation,
        kernel, kernel, to_string(x));
  return {x[0], x[1] / kernel, x[2] / kernel, x[3]};
}

void check_upstream(const char* operation, const Tensor& dy, const Shape& x, int64_t kernel) {
  check(dy.shape() == pooled(operation, x, kernel), "{}: gradient {} for input {}", operation, describe(dy),
        to_string(x));
}

}  // namespace

Tensor upsample_nearest(const Tensor& x) {
  check_picture("upsample_nearest", x);
  Tensor y({x.dim(0), 2 * x.dim(1), 2 * x.dim(2), x.dim(3)}, x.dtype(), x.device());
  launch<&cpu::upsample_nearest, &cuda::upsample_nearest>(x.device(), y, x);
  return y;
}

Tensor upsample_nearest_backward(const Tensor& dy) {
  check_picture("upsample_nearest", dy);
  check(dy.dim(1) % 2 == 0 && dy.dim(2) % 2 == 0, "upsample_nearest: gradient {} of odd size", describe(dy));
  Tensor dx({dy.dim(0), dy.dim(1) / 2, dy.dim(2) / 2, dy.dim(3)}, dy.dtype(), dy.device());
  launch<&cpu::upsample_nearest_backward, &cuda::upsample_nearest_backward>(dy.device(), dx, dy);
  return dx;
}

Tensor avg_pool2d(const Tensor& x, int64_t kernel) {
  Tensor y(pooled("avg_pool2d", x.shape(), kernel), x.dtype(), x.device());
  launch<&cpu::avg_pool2d, &cuda::avg_pool2d>(x.device(), y, x, kernel);
  return y;
}

Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, int64_t kernel) {
  check_upstream("avg_pool2d", dy, x_shape, kernel);
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch<&cpu::avg_pool2d_backward, &cuda::avg_pool2d_backward>(dy.device(), dx, dy, kernel);
  return dx;
}

Tensor max_pool2d(const Tensor& x, int64_t kernel) {
  Tensor y(pooled("max_pool2d", x.shape(), kernel), x.dtype(), x.device());
  launch<&cpu::max_pool2d, &cuda::max_pool2d>(x.device(), y, x, kernel);
  return y;
}

Tensor max_pool2d_backward(const Tensor& dy, const Tensor& x, int64_t kernel) {
  check_upstream("max_pool2d", dy, x.shape(), kernel);
  Tensor dx = empty_like(x);
  launch<&cpu::max_pool2d_backward, &cuda::max_pool2d_backward>(dy.device(), dx, dy, x, kernel);
  return dx;
}

}  // namespace stipple::kernels
