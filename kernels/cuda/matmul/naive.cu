#include "kernels/cuda/matmul/product.h"

// matmul, rung naive: one element of the result a thread.
//
// Idea    the formula: a thread walks the depth, neighbours take neighbouring columns.
// Costs   two loads for one multiply-add: rows x columns x depth of each, most of them from L1 and L2.
// Tried   nothing yet: this is what faster rungs are measured against.

namespace stipple::cuda::naive {
namespace {

template <typename T, typename C>
__global__ void matmul_naive_kernel(Product<T, C> p) {
  const int64_t at = global_thread();
  if (at >= int64_t{p.size.rows} * p.size.columns) return;
  const int row = static_cast<int>(at / p.size.columns), column = static_cast<int>(at % p.size.columns);
  float sum = 0;
  for (int d = 0; d < p.size.depth; ++d) sum += p.left(row, d) * p.right(d, column);
  p.put(row, column, sum);
}

}  // namespace

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  for_product(c, a, b, bias, size, [&]<typename T, typename C>(const Product<T, C>& p) {
    launch(matmul_naive_kernel<T, C>, blocks_for(c.to.numel()), kThreads, 0, p);
  });
}

}  // namespace stipple::cuda::naive
