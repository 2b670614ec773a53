#pragma once
#include <cmath>

#include "kernels/adamw.h"

// What a step of AdamW multiplies by, computed in double on the host. On CUDA kernels read it from device memory, where
// the host puts it before each step: so a captured step can be launched again with another learning rate.

namespace stipple {

struct AdamWNumbers {
  float gradient_scale, l2, keep, rest1, beta2, rest2, step_size, root_correction, eps, ema_rest;
  float max_grad_norm;  // where positive, the GPU makes gradient_scale

  explicit AdamWNumbers(const AdamWOptions& o, double max_norm = 0)
      : gradient_scale(static_cast<float>(o.gradient_scale)),
        l2(static_cast<float>(o.decoupled ? 0 : o.weight_decay)),
        keep(static_cast<float>(o.decoupled ? 1 - o.lr * o.weight_decay : 1)),
        rest1(static_cast<float>(1 - o.beta1)),
        beta2(static_cast<float>(o.beta2)),
        rest2(static_cast<float>(1 - o.beta2)),
        step_size(static_cast<float>(o.lr / (1 - std::pow(o.beta1, o.step)))),
        root_correction(static_cast<float>(1 / std::sqrt(1 - std::pow(o.beta2, o.step)))),
        eps(static_cast<float>(o.eps)),
        ema_rest(static_cast<float>(1 - o.ema_decay)),
        max_grad_norm(static_cast<float>(max_norm)) {}
};

inline constexpr int64_t kAdamWNumbers = sizeof(AdamWNumbers) / sizeof(float);

}  // namespace stipple
