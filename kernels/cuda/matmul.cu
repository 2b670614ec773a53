#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul/rungs.h"
#include "kernels/cuda/precision.h"
#include "kernels/launch.h"
#include "kernels/matmul.h"

// matmul and linear: the ladder's rungs are in matmul/. STIPPLE_MATMUL_CUDA=naive|tiled|mma|cublaslt takes one for all
// products; the emulator has no cuBLASLt. By default (fastest) it is the last of them, but for small f32 products,
// which would not fill tensor cores: there tiled adds plain f32, and gradients that nearly cancel keep a digit more.

namespace stipple::cuda {
namespace {

int extent(const char* name, int64_t n) {
  check(n <= std::numeric_limits<int>::max(), "matmul: {} {} are too many for cuda", n, name);
  return static_cast<int>(n);
}

constexpr int64_t kSmall = 1 << 22;  // multiply-adds

std::string_view chosen(bool small) {
#ifdef __CUDACC__
  const std::string_view wanted = rung("MATMUL_CUDA", {"naive", "tiled", "mma", "cublaslt", "fastest"});
  const std::string_view best = "cublaslt";
#else
  const std::string_view wanted = rung("MATMUL_CUDA", {"naive", "tiled", "mma", "fastest"}), best = "mma";
#endif
  if (wanted != "fastest") return wanted;
  return small ? "tiled" : best;
}

void product(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias) {
  if (c.to.numel() == 0) return;
  const int depth = extent("steps", a.of.dim(a.transpose == Transpose::yes ? 0 : 1));
  const MatmulSizes size{extent("rows", c.to.dim(0)), extent("columns", c.to.dim(1)), depth};
  const bool exact = a.of.dtype() == Dtype::f32 && !allows_tf32();
  const std::string_view rung = chosen(exact && int64_t{size.rows} * size.columns * depth <= kSmall);
#ifdef __CUDACC__
  if (rung == "cublaslt" && depth > 0) return cublaslt::matmul(c, a, b, bias, size);
#endif
  const Tensor exact_bias = bias ? bias.to(Dtype::f32) : bias;
  if (rung == "naive" || depth == 0) return naive::matmul(c, a, b, exact_bias, size);
  if (rung == "tiled") return tiled::matmul(c, a, b, exact_bias, size);
  mma::matmul(c, a, b, exact_bias, size);
}

}  // namespace

void matmul(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b) {
  product(c, {a, transpose_a}, {b, transpose_b}, {});
}

void linear(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(!bias || bias.dtype() == Dtype::f32 || bias.dtype() == y.dtype(), "linear: the bias must be f32 or {}, got {}",
        name_of(y.dtype()), describe(bias));
  product({y}, {x, Transpose::no}, {weight, Transpose::yes}, bias);
}

}  // namespace stipple::cuda
