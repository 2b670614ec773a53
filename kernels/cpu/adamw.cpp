#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

template <typename T>
simd::AdamStep<T> constants(const AdamWOptions& o) {
  const auto round = [](double x) { return static_cast<T>(x); };
  return {.gradient_scale = round(o.gradient_scale),
          .l2 = round(o.decoupled ? 0 : o.weight_decay),
          .keep = round(o.decoupled ? 1 - o.lr * o.weight_decay : 1),
          .rest1 = round(1 - o.beta1),
          .beta2 = round(o.beta2),
          .rest2 = round(1 - o.beta2),
          .step_size = round(o.lr / (1 - std::pow(o.beta1, o.step))),
          .root_correction = round(1 / std::sqrt(1 - std::pow(o.beta2, o.step))),
          .eps = round(o.eps),
          .ema_rest = round(1 - o.ema_decay)};
}

template <typename T>
void oracle(T* p, T* m, T* v, T* ema, const T* gradient, int64_t n, const simd::AdamStep<T>& k) {
  for (int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * k.gradient_scale + k.l2 * p[i];
    m[i] += k.rest1 * (g - m[i]);
    v[i] = k.beta2 * v[i] + k.rest2 * g * g;
    p[i] = p[i] * k.keep - k.step_size * m[i] / (std::sqrt(v[i]) * k.root_correction + k.eps);
    if (ema) ema[i] -= k.ema_rest * (ema[i] - p[i]);
  }
}

}  // namespace

void adamw(const AdamWArenas& arenas, const AdamWOptions& o) {
  const auto run = [&]<typename T>(T, auto* update) {
    T *p = arenas.parameters.mutable_data<T>(), *m = arenas.m.mutable_data<T>(), *v = arenas.v.mutable_data<T>();
    T* ema = arenas.ema ? arenas.ema.mutable_data<T>() : nullptr;
    const T* g = arenas.gradients.data<T>();
    const simd::AdamStep<T> k = constants<T>(o);
    parallel_for_ranges(arenas.parameters.numel(), kPiece, [&](int64_t a, int64_t b) {
      update(p + a, m + a, v + a, ema ? ema + a : nullptr, g + a, b - a, k);
    });
  };
  const Dtype dtype = arenas.parameters.dtype();
  if (!use_oracle("ADAMW", dtype)) return run(float{}, simd::table().adamw);
  for_real("adamw", dtype, [&]<typename T>(T zero) { run(zero, oracle<T>); });
}

void squared_norm(double& sum, const Tensor& x) {
  for_real("squared_norm", x.dtype(), [&]<typename T>(T) {
    const T* values = x.data<T>();
    sum = sum_of(x.numel(), [=](int64_t i) { return static_cast<double>(values[i]) * values[i]; });
  });
}

}  // namespace stipple::cpu
