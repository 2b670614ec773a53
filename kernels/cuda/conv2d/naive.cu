#include "kernels/cuda/conv2d/problem.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/product/naive.h"

// conv2d, rung naive: one thread an output (product/naive.h).

namespace stipple::cuda::naive {
namespace {
constexpr auto run = [](const auto& problem) { naive_product(problem); };
}

void conv2d(Tensor& y, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
            const Correlation& g) {
  for_forward(y, x, weight, e, g, run);
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g) {
  for_input_gradient(dx, dy, weight, g, run);
}

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  for_weight_gradient(dweight, dy, x, g, run);
}

}  // namespace stipple::cuda::naive
