#include "autograd/ops/embedding.h"

#include "kernels/embedding.h"

namespace stipple {

Var embedding(const Var& table, const Tensor& indices) {
  return record("embedding", kernels::embedding(table.value(), indices), {table},
                [indices, shape = table.shape()](const Tensor& dy, Destinations& to) {
                  kernels::embedding_backward(to.parameter(0, shape, dy.dtype()), dy, indices);
                });
}

}  // namespace stipple
