#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/pieces.h"

namespace stipple::cpu {
namespace {

// The constants of one step, in the precision of the parameters.
template <typename T>
struct Step {
  T gradient_scale, l2, keep, beta2, rest1, rest2, step_size, root_correction, eps, ema_rest;

  explicit Step(const AdamWOptions& o)
      : gradient_scale(static_cast<T>(o.gradient_scale)),
        l2(static_cast<T>(o.decoupled ? 0 : o.weight_decay)),
        keep(static_cast<T>(o.decoupled ? 1 - o.lr * o.weight_decay : 1)),
        beta2(static_cast<T>(o.beta2)),
        rest1(static_cast<T>(1 - o.beta1)),
        rest2(static_cast<T>(1 - o.beta2)),
        step_size(static_cast<T>(o.lr / (1 - std::pow(o.beta1, o.step)))),
        root_correction(static_cast<T>(1 / std::sqrt(1 - std::pow(o.beta2, o.step)))),
        eps(static_cast<T>(o.eps)),
        ema_rest(static_cast<T>(1 - o.ema_decay)) {}
};

template <typename T>
void update(T* __restrict p, T* __restrict m, T* __restrict v, const T* __restrict gradient, int64_t n,
            const Step<T>& s) {
  for (int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * s.gradient_scale + s.l2 * p[i];
    m[i] += s.rest1 * (g - m[i]);
    v[i] = s.beta2 * v[i] + s.rest2 * g * g;
    p[i] = p[i] * s.keep - s.step_size * m[i] / (std::sqrt(v[i]) * s.root_correction + s.eps);
  }
}

template <typename T>
void average(T* __restrict ema, const T* __restrict p, int64_t n, T rest) {
  for (int64_t i = 0; i < n; ++i) ema[i] -= rest * (ema[i] - p[i]);
}

}  // namespace

void adamw(const Tensor& parameters, const Tensor& m, const Tensor& v, const Tensor& ema, const Tensor& gradients,
           const AdamWOptions& o) {
  for_real("adamw", parameters.dtype(), [&]<typename T>(T) {
    T *p = parameters.mutable_data<T>(), *first = m.mutable_data<T>(), *second = v.mutable_data<T>();
    T* mean = o.ema_decay >= 0 ? ema.mutable_data<T>() : nullptr;
    const T* g = gradients.data<T>();
    const Step<T> step(o);
    parallel_for_ranges(parameters.numel(), kPiece, [&](int64_t a, int64_t b) {
      update(p + a, first + a, second + a, g + a, b - a, step);
      if (mean) average(mean + a, p + a, b - a, step.ema_rest);
    });
  });
}

void squared_norm(double& sum, const Tensor& x) {
  for_real("squared_norm", x.dtype(), [&]<typename T>(T) {
    const T* values = x.data<T>();
    sum = sum_of(x.numel(), [=](int64_t i) { return static_cast<double>(values[i]) * values[i]; });
  });
}

}  // namespace stipple::cpu
