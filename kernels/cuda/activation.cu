#include "kernels/activation.h"
#include "kernels/cuda/launch.h"

// activation: one element a thread. Bound by memory: x read and y written once.

namespace stipple::cuda {
namespace {

__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }
__device__ float normal_cdf(float x) { return 0.5f * (1 + erff(x * 0.70710678f)); }
__device__ float normal_pdf(float x) { return 0.39894228f * expf(-0.5f * x * x); }

template <Activation kKind>
__device__ float value(float x) {
  if constexpr (kKind == Activation::silu)
    return x * sigmoid(x);
  else if constexpr (kKind == Activation::gelu)
    return x * normal_cdf(x);
  else if constexpr (kKind == Activation::relu)
    return fmaxf(x, 0.f);
  else
    return x * tanhf(softplus(x));
}

template <Activation kKind>
__device__ float slope(float x) {
  if constexpr (kKind == Activation::silu)
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
  else if constexpr (kKind == Activation::gelu)
    return normal_cdf(x) + x * normal_pdf(x);
  else if constexpr (kKind == Activation::relu)
    return x > 0 ? 1.f : 0.f;
  else {
    const float t = tanhf(softplus(x));
    return t + x * (1 - t * t) * sigmoid(x);
  }
}

template <Activation kKind, typename T>
__global__ void activation_kernel(T* __restrict__ y, const T* __restrict__ x, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) y[i] = value<kKind>(x[i]);
}

template <Activation kKind, typename T>
__global__ void activation_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x,
                                           int64_t n) {
  const int64_t i = global_thread();
  if (i < n) dx[i] = static_cast<float>(dy[i]) * slope<kKind>(x[i]);
}

template <Activation kKind>
struct Kind {
  static constexpr Activation value = kKind;
};

// Calls f with the kind as a type, so that every kind has a kernel of its own.
template <typename F>
void for_kind(Activation kind, F&& f) {
  switch (kind) {
    case Activation::silu:
      return f(Kind<Activation::silu>{});
    case Activation::gelu:
      return f(Kind<Activation::gelu>{});
    case Activation::relu:
      return f(Kind<Activation::relu>{});
    case Activation::mish:
      return f(Kind<Activation::mish>{});
  }
}

}  // namespace

void activation(Tensor& y, Activation kind, const Tensor& x) {
  if (x.numel() == 0) return;
  for_floating("activation", x.dtype(), [&]<typename T>(T) {
    for_kind(kind, [&]<typename K>(K) {
      launch(activation_kernel<K::value, T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x),
             x.numel());
    });
  });
}

void activation_backward(Tensor& dx, Activation kind, const Tensor& dy, const Tensor& x) {
  if (x.numel() == 0) return;
  for_floating("activation", x.dtype(), [&]<typename T>(T) {
    for_kind(kind, [&]<typename K>(K) {
      launch(activation_backward_kernel<K::value, T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(dx),
             data<T>(dy), data<T>(x), x.numel());
    });
  });
}

}  // namespace stipple::cuda
