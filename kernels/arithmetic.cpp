#include "kernels/arithmetic.h"

#include <algorithm>

#include "kernels/launch.h"

namespace stipple {
namespace {

// The extent of dimension i of `rank` when shape is aligned at the right.
int64_t aligned_extent(const Shape& shape, int rank, int i) {
  const int own = i - (rank - shape.rank());
  return own < 0 ? 1 : shape[own];
}

}  // namespace

const char* name_of(Binary operation) {
  switch (operation) {
    case Binary::add:
      return "add";
    case Binary::subtract:
      return "subtract";
    case Binary::multiply:
      return "multiply";
    case Binary::divide:
      return "divide";
  }
  return "?";
}

Shape broadcast_shape(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    const int64_t x = aligned_extent(a, rank, i), y = aligned_extent(b, rank, i);
    check(x == y || x == 1 || y == 1, "shapes {} and {} do not broadcast", to_string(a), to_string(b));
    shape.push_back(x == 1 ? y : x);
  }
  return shape;
}

namespace kernels {

Tensor binary(Binary operation, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype(), "{}: {} and {} differ in dtype", name_of(operation), describe(a), describe(b));
  Tensor y(broadcast_shape(a.shape(), b.shape()), a.dtype(), a.device());
  launch<&cpu::binary, &cuda::binary>(a.device(), y, operation, a, b);
  return y;
}

Tensor affine(const Tensor& x, double scale, double shift) {
  Tensor y = empty_like(x);
  launch<&cpu::affine, &cuda::affine>(x.device(), y, x, scale, shift);
  return y;
}

void accumulate(const Tensor& to, const Tensor& x) {
  check(to.shape() == x.shape() && to.dtype() == x.dtype(), "accumulate: {} onto {}", describe(x), describe(to));
  launch<&cpu::accumulate, &cuda::accumulate>(x.device(), to, x);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check(broadcast_shape(x.shape(), shape) == x.shape(), "sum_to: {} does not sum to {}", describe(x), to_string(shape));
  if (shape.numel() == x.numel()) return x.reshape(shape);
  Tensor y(shape, x.dtype(), x.device());
  launch<&cpu::sum_to, &cuda::sum_to>(x.device(), y, x);
  return y;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  check(broadcast_shape(x.shape(), shape) == shape, "broadcast_to: {} does not stretch to {}", describe(x),
        to_string(shape));
  return binary(Binary::add, Tensor::zeros(shape, x.dtype(), x.device()), x);
}

}  // namespace kernels
}  // namespace stipple
