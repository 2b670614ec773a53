#include "kernels/cuda/matmul/product.h"
#include "kernels/cuda/product/tiled.h"

// matmul, rung tiled (product/tiled.h).

namespace stipple::cuda::tiled {

void matmul(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
            const MatmulSizes& size) {
  for_product(c, a, b, bias, size, [](const auto& problem) { tiled_product(problem); });
}

}  // namespace stipple::cuda::tiled
