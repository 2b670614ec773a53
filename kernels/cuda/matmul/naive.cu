#include "kernels/cuda/matmul/product.h"
#include "kernels/cuda/product/naive.h"

// matmul, rung naive (product/naive.h).

namespace stipple::cuda::naive {

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  for_product(c, a, b, bias, size, [](const auto& problem) { naive_product(problem); });
}

}  // namespace stipple::cuda::naive
