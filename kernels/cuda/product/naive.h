#pragma once
#include "kernels/cuda/launch.h"

// The first rung of every matrix product, convolutions included: one thread a result, one sum after the other. What
// faster rungs are measured against.
//
// A problem is a struct that says how large it is and computes its operands, which need not be stored as matrices:
//   output[row, column] = sum over depth of a(row, depth) b(depth, column)
// with rows(), columns(), depth(), a(), b() and put(row, column, sum).
//
// Idea    the formula: a thread walks the depth, neighbours take neighbouring columns.
// Costs   two loads for one multiply-add: caches are all that helps. Under 1 % of peak.

namespace stipple::cuda {

template <typename Problem>
__global__ void product_naive_kernel(Problem problem) {
  const int64_t at = global_thread();
  if (at >= int64_t{problem.rows()} * problem.columns()) return;
  const int row = static_cast<int>(at / problem.columns()), column = static_cast<int>(at % problem.columns());
  float sum = 0;
  for (int d = 0; d < problem.depth(); ++d) sum += problem.a(row, d) * problem.b(d, column);
  problem.put(row, column, sum);
}

template <typename Problem>
void naive_product(const Problem& problem) {
  launch(product_naive_kernel<Problem>, blocks_for(int64_t{problem.rows()} * problem.columns()), kThreads, 0, problem);
}

}  // namespace stipple::cuda
