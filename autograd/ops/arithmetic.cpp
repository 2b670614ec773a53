#include "autograd/ops/arithmetic.h"

#include "kernels/arithmetic.h"
#include "kernels/clamp.h"

namespace stipple {
namespace {

Tensor product(const Tensor& a, const Tensor& b) { return kernels::binary(Binary::multiply, a, b); }
Tensor quotient(const Tensor& a, const Tensor& b) { return kernels::binary(Binary::divide, a, b); }

// A sum or difference: the gradient is dy, times `sign` for b.
Var plus_or_minus(Binary operation, double sign, const Var& a, const Var& b) {
  return record(name_of(operation), kernels::binary(operation, a.value(), b.value()), {a, b},
                [sign, a = a.shape(), b = b.shape()](const Tensor& dy, Destinations& to) {
                  if (to.wanted(0)) to.set(0, kernels::sum_to(dy, a));
                  if (!to.wanted(1)) return;
                  const Tensor db = kernels::sum_to(dy, b);
                  to.set(1, sign == 1 ? db : kernels::affine(db, sign, 0));
                });
}

}  // namespace

Var operator+(const Var& a, const Var& b) { return plus_or_minus(Binary::add, 1, a, b); }
Var operator-(const Var& a, const Var& b) { return plus_or_minus(Binary::subtract, -1, a, b); }

Var operator*(const Var& a, const Var& b) {
  return record("multiply", product(a.value(), b.value()), {a, b},
                [shape_a = a.shape(), shape_b = b.shape(), a = save_if(b.requires_grad(), a.value()),
                 b = save_if(a.requires_grad(), b.value())](const Tensor& dy, Destinations& to) {
                  if (to.wanted(0)) to.set(0, kernels::sum_to(product(dy, b), shape_a));
                  if (to.wanted(1)) to.set(1, kernels::sum_to(product(dy, a), shape_b));
                });
}

// y = a / b: da = dy / b, db = -dy y / b
Var operator/(const Var& a, const Var& b) {
  const Tensor y = quotient(a.value(), b.value());
  return record(
      "divide", y, {a, b},
      [shape_a = a.shape(), b = b.value(), y = save_if(b.requires_grad(), y)](const Tensor& dy, Destinations& to) {
        const Tensor da = quotient(dy, b);
        if (to.wanted(0)) to.set(0, kernels::sum_to(da, shape_a));
        if (to.wanted(1)) to.set(1, kernels::affine(kernels::sum_to(product(da, y), b.shape()), -1, 0));
      });
}

Var affine(const Var& x, double scale, double shift) {
  return record("affine", kernels::affine(x.value(), scale, shift), {x}, [scale](const Tensor& dy, Destinations& to) {
    to.set(0, scale == 1 ? dy : kernels::affine(dy, scale, 0));
  });
}

Var sum(const Var& x) {
  return record("sum", kernels::sum_to(x.value(), {}), {x}, [shape = x.shape()](const Tensor& dy, Destinations& to) {
    to.set(0, kernels::broadcast_to(dy, shape));
  });
}

Var mean(const Var& x) { return sum(x) / static_cast<double>(x.value().numel()); }

Var clamp(const Var& x, double low, double high) {
  return record("clamp", kernels::clamp(x.value(), low, high), {x},
                [low, high, x = save_if(x.requires_grad(), x.value())](const Tensor& dy, Destinations& to) {
                  to.set(0, kernels::clamp_backward(dy, x, low, high));
                });
}

}  // namespace stipple
