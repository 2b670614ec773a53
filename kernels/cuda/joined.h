#pragma once
#include <cuda_runtime.h>

#include "kernels/concat.h"
#include "kernels/cuda/launch.h"

// Two tensors as kernels see them that take both for their concatenation: a pixel's channels are those of a, then those
// of b. Whoever takes kVector channels at once needs both to have a multiple of them.

namespace stipple::cuda {

template <typename T>
struct Joined {
  T *a, *b;  // either may be null: it has no channels, or is not to be written
  int a_channels, b_channels;

  // A channel of all pixels.
  struct Column {
    T* first;
    int stride;
    __device__ T* operator()(int64_t pixel) const { return first + pixel * stride; }
  };
  __device__ Column column(int c) const {
    const bool left = c < a_channels;
    T* const of = left ? a : b;
    return {of ? of + (left ? c : c - a_channels) : nullptr, left ? a_channels : b_channels};
  }
  __device__ T* operator()(int64_t pixel, int c) const {
    const Column of = column(c);
    return of.first ? of(pixel) : nullptr;
  }
};

template <typename T>
Joined<const T> joined(const Concat<Tensor>& x) {
  return {data<T>(x.a), data<T>(x.b), static_cast<int>(x.a.dim(-1)), static_cast<int>(x.b_channels())};
}

// The gradient of x, of which either part or both may not be wanted.
template <typename T>
Joined<T> joined(const Concat<Tensor>& dx, const Concat<Tensor>& x) {
  return {mutable_data<T>(dx.a), mutable_data<T>(dx.b), static_cast<int>(x.a.dim(-1)),
          static_cast<int>(x.b_channels())};
}

}  // namespace stipple::cuda
