#include "kernels/cuda/group_norm/rungs.h"
#include "kernels/launch.h"

// group_norm: the ladder's rungs are in group_norm/. STIPPLE_GROUP_NORM_CUDA=naive|two_pass|one_pass|given_moments says
// how high to climb: what does not fit a rung (x without moments, a picture too large for one_pass, a group of
// thousands of channels for two_pass) is left to the one below. By default (fastest) a picture of which a
// multiprocessor holds two slices at once is one_pass's even where moments are given: it reads x once as well, and
// nothing else.

namespace stipple::cuda {
namespace {

std::string_view chosen() {
  return rung("GROUP_NORM_CUDA", {"naive", "two_pass", "one_pass", "given_moments", "fastest"});
}

bool takes_moments(std::string_view highest, const Concat<Tensor>& x, const GroupNormOptions& o) {
  return highest == "given_moments" || (highest == "fastest" && !one_pass::fits_well(x, o));
}
bool takes_one_pass(std::string_view highest) { return highest != "naive" && highest != "two_pass"; }

void no_elements(const GroupNormGrads& to) {
  for (const Grad& g : {to.dgamma, to.dbeta})
    if (g.wanted() && !g.add) g.to.fill(0);
}

}  // namespace

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o, const Concat<Tensor>& moments) {
  if (out.y.numel() == 0) return;
  const std::string_view highest = chosen();
  if (takes_moments(highest, x, o) && given_moments::fits(x, moments, o))
    return given_moments::group_norm(out, x, gamma, beta, o, moments);
  if (takes_one_pass(highest) && one_pass::fits(x, o)) return one_pass::group_norm(out, x, gamma, beta, o);
  if (highest != "naive" && two_pass::fits(x, o)) return two_pass::group_norm(out, x, gamma, beta, o);
  naive::group_norm(out, x, gamma, beta, o);
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  if (dy.numel() == 0) return no_elements(to);
  const std::string_view highest = chosen();
  if (takes_one_pass(highest) && one_pass::backward_fits(x, o))
    return one_pass::group_norm_backward(to, dy, x, gamma, beta, mean, rstd, o);
  if (highest != "naive" && two_pass::fits(x, o))
    return two_pass::group_norm_backward(to, dy, x, gamma, beta, mean, rstd, o);
  naive::group_norm_backward(to, dy, x, gamma, beta, mean, rstd, o);
}

}  // namespace stipple::cuda
