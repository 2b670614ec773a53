#pragma once
#include <vector>

#include "kernels/group_norm.h"

// Rung 1 of group_norm, the oracle: the formulas of kernels/group_norm.h as loops in double, over the concatenation of
// x; and what the fast one shares with it.

namespace stipple::cpu {

struct GroupNormExtents {
  int64_t images, pixels, channels, groups, width;  // width: channels of a group

  GroupNormExtents(const Shape& x, int64_t group_count)
      : images(x[0]), pixels(0), channels(x[-1]), groups(group_count), width(channels / group_count) {
    if (images * channels > 0) pixels = x.numel() / (images * channels);
  }
  int64_t group_size() const { return pixels * width; }
};

// A parameter's gradient, a value a channel.
template <typename T>
void put_gradient(const Grad& to, const std::vector<double>& values) {
  if (!to.wanted()) return;
  T* at = to.to.mutable_data<T>();
  for (size_t c = 0; c < values.size(); ++c) at[c] = static_cast<T>(values[c] + (to.add ? at[c] : T{0}));
}

namespace oracle {

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions&);
void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions&);

}  // namespace oracle

}  // namespace stipple::cpu
