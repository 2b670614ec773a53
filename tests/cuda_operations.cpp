#include <algorithm>

#include "tests/cuda_twins.h"

// Every CUDA kernel against its CPU twin, over all cases of tests/ops, on a GPU or on the emulator.

namespace stipple {
namespace {

// The operations of tests/ops that have CUDA kernels, and whether in bf16, too (the gradient of a quotient is a sum of
// several roundings). A new kernel adds a line.
struct OnCuda {
  const char* operation;
  bool bf16;
};
// clang-format off
const std::vector<OnCuda> kOnCuda = {
    {"activation", true},
    {"add", true},
    {"subtract", true},
    {"multiply", true},
    {"divide", false},
    {"affine", true},
    {"sum", true},
    {"group_norm", true},
    {"absolute", true},
    {"cast", true},
    {"clamp", true},
    {"softmax", true},
    {"mse", true},
    {"cross_entropy", true},
    {"dropout", true},
    {"concat_channels", true},
    {"split_channels", true},
    {"upsample_nearest", true},
    {"avg_pool2d", true},
    {"max_pool2d", true},
    {"fir_downsample", true},
    {"fir_upsample", true},
    {"embedding", true},
    {"matmul", true},
    {"linear", true},
    {"attention", true},
    {"reshape", true},
    {"broadcast_to", true},
    {"conv2d", true},
    {"conv2d_of_upsampled", true},
    {"conv2d_of_two", true},
};
// clang-format on

// Either twin may be as far from the truth as the case's tolerance; a case whose f32 gradient is a difference of equals
// has no better one in bf16.
double tolerance(const OpCase& c, Dtype dtype) {
  return dtype == Dtype::f32 ? std::max(1e-5, 3 * c.tolerance) : std::max(1e-2, 1e3 * c.tolerance);
}

}  // namespace

TEST_CASE("every CUDA kernel gives what its CPU twin gives", "[cuda]") {
  for (const OnCuda& kernel : kOnCuda)
    for (const OpCase& c : OpFamily::named(kernel.operation).cases()) {
      INFO(kernel.operation << ' ' << title(c));
      check_twins(c, Dtype::f32, tolerance(c, Dtype::f32));
      if (kernel.bf16) check_twins(c, Dtype::bf16, tolerance(c, Dtype::bf16));
    }
}

}  // namespace stipple
