#pragma once
#include <concepts>
#include <utility>

#include "tensor/tensor.h"

// Concatenation along the channels, the last dimension, and its backward: the split.

namespace stipple {

// Two tensors (or Vars) that stand for their concatenation, where an operation takes both and nobody makes the third.
// Without b it is a alone.
template <typename T>
struct Concat {
  T a, b;

  Concat() = default;
  template <std::convertible_to<T> One>
  Concat(One&& one) : a(std::forward<One>(one)) {}
  Concat(T left, T right) : a(std::move(left)), b(std::move(right)) {}
  int64_t b_channels() const { return b.defined() ? b.dim(-1) : 0; }
  int64_t channels() const { return a.dim(-1) + b_channels(); }
};

// The shape of the concatenation. Throws where the two differ in more than their channels.
Shape concat_shape(const Concat<Tensor>&);

namespace kernels {
Tensor concat_channels(const Concat<Tensor>&);             // a itself where there is no b
Tensor concat_channels(const Tensor& a, const Tensor& b);  // [..., Ca], [..., Cb] -> [..., Ca+Cb]
// dy [..., Ca+Cb] into to.a and to.b; undefined = not wanted.
void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels);
}  // namespace kernels

namespace cpu {
void concat_channels(Tensor& y, const Tensor& a, const Tensor& b);
void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels);
}  // namespace cpu

namespace cuda {
void concat_channels(Tensor& y, const Tensor& a, const Tensor& b);
void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels);
}  // namespace cuda

}  // namespace stipple
