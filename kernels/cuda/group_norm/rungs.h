#pragma once
#include "kernels/group_norm.h"

// The ladder of group_norm, one file a rung. x is f32 or bf16 and has elements. `fits` says whether a rung can take x.

namespace stipple::cuda {

namespace naive {
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace naive

namespace two_pass {
bool fits(const Concat<Tensor>& x, const GroupNormOptions&);
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&);
// y from x, where mean and rstd are known.
void map(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta, const GroupNormOptions&);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace two_pass

namespace one_pass {
bool fits(const Concat<Tensor>& x, const GroupNormOptions&);
bool fits_well(const Concat<Tensor>& x, const GroupNormOptions&);  // a multiprocessor has room for two blocks
bool backward_fits(const Concat<Tensor>& x, const GroupNormOptions&);
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);
}  // namespace one_pass

// Forward only. `moments` of x's channels may be undefined.
namespace given_moments {
bool fits(const Concat<Tensor>& x, const Concat<Tensor>& moments, const GroupNormOptions&);
void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&, const Concat<Tensor>& moments);
}  // namespace given_moments

}  // namespace stipple::cuda
