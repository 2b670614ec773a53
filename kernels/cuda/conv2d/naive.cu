#include "kernels/cuda/conv2d/problem.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/launch.h"

// conv2d, rung naive: one thread an output, one sum after the other. What the faster rungs are measured against.
//
// Costs   every element of the window is fetched by every filter's thread: caches are all that helps. Under 1 % of
// peak.

namespace stipple::cuda::naive {
namespace {

template <typename Problem>
__global__ void conv2d_naive_kernel(Problem problem) {
  const int64_t at = global_thread();
  if (at >= int64_t{problem.rows()} * problem.columns()) return;
  const int row = static_cast<int>(at / problem.columns()), column = static_cast<int>(at % problem.columns());
  float sum = 0;
  for (int e = 0; e < problem.depth(); ++e) sum += problem.a(row, e) * problem.b(e, column);
  problem.put(row, column, sum);
}

template <typename Problem>
void run(const Problem& problem) {
  launch(conv2d_naive_kernel<Problem>, blocks_for(int64_t{problem.rows()} * problem.columns()), kThreads, 0, problem);
}

}  // namespace

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Correlation& g) {
  for_floating("conv2d", x.dtype(), [&]<typename T>(T) {
    run(ForwardProblem<T>{g, mutable_data<T>(y), data<T>(x), data<T>(weight), bias ? data<float>(bias) : nullptr});
  });
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(InputGradientProblem<T>{g, mutable_data<T>(dx), data<T>(dy), data<T>(weight)});
  });
}

void conv2d_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(WeightGradientProblem<T>{
        {g, nullptr, data<T>(x), nullptr, nullptr}, mutable_data<float>(dweight.to), dweight.add, data<T>(dy)});
  });
}

}  // namespace stipple::cuda::naive
