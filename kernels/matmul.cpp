#include "kernels/matmul.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

struct Extent {
  int64_t rows, columns;
};

Extent extent(const Tensor& m, Transpose transpose) {
  check(m.rank() == 2, "matmul: a matrix expected, got {}", describe(m));
  return transpose == Transpose::yes ? Extent{m.dim(1), m.dim(0)} : Extent{m.dim(0), m.dim(1)};
}

Shape product_shape(const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b) {
  const Extent left = extent(a, transpose_a), right = extent(b, transpose_b);
  check(left.columns == right.rows && a.dtype() == b.dtype(), "matmul: {}{} times {}{} does not fit", describe(a),
        transpose_a == Transpose::yes ? "^T" : "", describe(b), transpose_b == Transpose::yes ? "^T" : "");
  return {left.rows, right.columns};
}

}  // namespace

void matmul_into(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b) {
  const Shape shape = product_shape(a, b, transpose_a, transpose_b);
  check(c.to.shape() == shape, "matmul: result is {}, the destination {}", to_string(shape), describe(c.to));
  launch<&cpu::matmul, &cuda::matmul>(a.device(), c, a, b, transpose_a, transpose_b);
}

Tensor matmul(const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b) {
  Tensor c(product_shape(a, b, transpose_a, transpose_b), a.dtype(), a.device());
  launch<&cpu::matmul, &cuda::matmul>(a.device(), Grad{c}, a, b, transpose_a, transpose_b);
  return c;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(x.rank() >= 1 && weight.rank() == 2 && x.dim(-1) == weight.dim(1) && x.dtype() == weight.dtype(),
        "linear: x {} does not fit weight {}", describe(x), describe(weight));
  check(!bias || bias.shape() == Shape{weight.dim(0)}, "linear: bias {} for weight {}", describe(bias),
        describe(weight));
  const int64_t rows = x.dim(-1) ? x.numel() / x.dim(-1) : 0;
  Shape shape(x.shape().begin(), x.shape().end() - 1);
  shape.push_back(weight.dim(0));
  Tensor y({rows, weight.dim(0)}, x.dtype(), x.device());
  launch<&cpu::linear, &cuda::linear>(x.device(), y, x.reshape({rows, x.dim(-1)}), weight, bias);
  return y.reshape(shape);
}

}  // namespace stipple::kernels
