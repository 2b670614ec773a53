#pragma once
#include "kernels/concat.h"

// Group normalisation, optionally followed by SiLU. Wu & He 2018, arXiv:1803.08494, eq. 1-3.
//
// S(n,g) holds the m = H*W*C/G elements of group g in image n:
//   mean = 1/m sum x       var = 1/m sum (x - mean)^2       rstd = 1/sqrt(var + eps)
//   xn = (x - mean) rstd   z = gamma xn + beta              y = z, or silu(z) = z sigmoid(z)
//
// Backward, with dz = dy (times silu'(z)), g = gamma dz, sums over S(n,g):
//   dx = rstd (g - 1/m sum g - xn 1/m sum g xn)
//   dgamma = sum_{n,h,w} dz xn    dbeta = sum_{n,h,w} dz
//
// Where the convolutions that made x have left the moments of its channels, CUDA takes mean and var from them and reads
// x once; the CPU looks at x.
//
// x may be two tensors that stand for their concatenation, of which y is one tensor: groups may straddle the seam.
// Kernels read the two; only the CPU's oracle concatenates.

namespace stipple {

struct GroupNormOptions {
  int64_t groups = 32;
  double eps = 1e-5;
  bool silu = false;
};

struct GroupNormOut {
  Tensor y;           // as large as x
  Tensor mean, rstd;  // [N, G], what the backward pass needs besides x; f64 where x is f64, else f32
};

struct GroupNormGrads {  // where to write; undefined = not wanted
  Concat<Tensor> dx;     // like x
  Grad dgamma, dbeta;    // [C]
};

namespace kernels {
GroupNormOut group_norm(const Concat<Tensor>& x,  // [N, ..., C], e.g. [N, H, W, C]
                        const Tensor& gamma,      // [C], f64 where x is f64, else f32
                        const Tensor& beta,       // [C]
                        const GroupNormOptions&,
                        const Concat<Tensor>& moments = {});  // of x's channels (conv2d.h), both or neither
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace kernels

namespace cpu {
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&, const Concat<Tensor>& moments);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace cpu

namespace cuda {
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&, const Concat<Tensor>& moments);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace cuda

}  // namespace stipple
