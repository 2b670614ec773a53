#include "kernels/activation.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements a piece: 128 KiB of floats, a quarter of L2
constexpr int64_t kFew = 1 << 13;    // so many cost 60 us in double

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }
double normal_cdf(double x) { return 0.5 * (1 + std::erf(x * M_SQRT1_2)); }
double normal_pdf(double x) { return std::exp(-0.5 * x * x) * (0.5 * M_2_SQRTPI * M_SQRT1_2); }

double value(Activation kind, double x) {
  switch (kind) {
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::mish:
      return x * std::tanh(softplus(x));
  }
  return 0;
}

double slope(Activation kind, double x) {
  switch (kind) {
    case Activation::silu:
      return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
    case Activation::gelu:
      return normal_cdf(x) + x * normal_pdf(x);
    case Activation::relu:
      return x > 0;
    case Activation::mish: {
      const double t = std::tanh(softplus(x));
      return t + x * (1 - t * t) * sigmoid(x);
    }
  }
  return 0;
}

// Few numbers are a time embedding, and what is wrong with one of those is wrong with whole maps: they are computed in
// double.
bool use_vectors(Activation kind, const Tensor& x) {
  return kind == Activation::silu && x.numel() > kFew && !use_oracle("ACTIVATION", x.dtype());
}

}  // namespace

void activation(Tensor& y, Activation kind, const Tensor& x) {
  if (use_vectors(kind, x)) {
    float* to = y.mutable_data<float>();
    const float* from = x.data<float>();
    return parallel_for_ranges(x.numel(), kGrain,
                               [&](int64_t a, int64_t b) { simd::table().silu(to + a, from + a, b - a); });
  }
  for_real("activation", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    parallel_for_ranges(x.numel(), kGrain, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = static_cast<T>(value(kind, from[i]));
    });
  });
}

void activation_backward(Tensor& dx, Activation kind, const Tensor& dy, const Tensor& x) {
  if (use_vectors(kind, x)) {
    float* to = dx.mutable_data<float>();
    const float *upstream = dy.data<float>(), *from = x.data<float>();
    return parallel_for_ranges(x.numel(), kGrain, [&](int64_t a, int64_t b) {
      simd::table().silu_backward(to + a, upstream + a, from + a, b - a);
    });
  }
  for_real("activation", x.dtype(), [&]<typename T>(T) {
    T* to = dx.mutable_data<T>();
    const T *upstream = dy.data<T>(), *from = x.data<T>();
    parallel_for_ranges(x.numel(), kGrain, [&](int64_t a, int64_t b) {
      for (int64_t i = a; i < b; ++i) to[i] = static_cast<T>(upstream[i] * slope(kind, from[i]));
    });
  });
}

}  // namespace stipple::cpu
