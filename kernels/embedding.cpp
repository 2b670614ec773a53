#include "kernels/embedding.h"

#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_indices(const Tensor& table, const Tensor& indices) {
  check(table.rank() == 2, "embedding: a table [R, D] expected, got {}", describe(table));
  check(indices.rank() == 1 && indices.dtype() == Dtype::i64, "embedding: indices i64 [N] expected, got {}",
        describe(indices));
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& indices) {
  check_indices(table, indices);
  Tensor y({indices.dim(0), table.dim(1)}, table.dtype(), table.device());
  launch<&cpu::embedding, &cuda::embedding>(table.device(), y, table, indices);
  return y;
}

void embedding_backward(const Grad& dtable, const Tensor& dy, const Tensor& indices) {
  if (!dtable.wanted()) return;
  check_indices(dtable.to, indices);
  const Dtype expected = dy.dtype() == Dtype::bf16 ? Dtype::f32 : dy.dtype();
  check(dy.shape() == Shape{indices.dim(0), dtable.to.dim(1)} && dtable.to.dtype() == expected,
        "embedding: gradient {} for {} rows of {}", describe(dy), indices.dim(0), describe(dtable.to));
  launch<&cpu::embedding_backward, &cuda::embedding_backward>(dy.device(), dtable, dy, indices);
}

}  // namespace stipple::kernels
