#include "nn/optimizer.h"

#include <algorithm>
#include <cmath>

namespace stipple {

Adam::Adam(Parameters& parameters, const AdamOptions& o)
    : parameters_(&parameters),
      options_(o),
      m_(Tensor::zeros(parameters.values().shape(), parameters.values().dtype(), parameters.device())),
      v_(Tensor::zeros(parameters.values().shape(), parameters.values().dtype(), parameters.device())) {}

double Adam::step(double learning_rate, double max_grad_norm, const Tensor& ema, double decay) {
  parameters_->complete_gradients();
  const double norm = std::sqrt(kernels::squared_norm(parameters_->gradients()));
  if (!std::isfinite(norm)) return norm;
  const double clip = max_grad_norm > 0 ? std::min(1.0, max_grad_norm / (norm + 1e-6)) : 1.0;
  AdamWOptions o = next_step(learning_rate);
  o.gradient_scale = clip;
  o.ema_decay = decay;
  kernels::adamw(arenas(ema), o);
  parameters_->mark_rounded();
  ++steps_;
  return norm;
}

AdamWArenas Adam::arenas(const Tensor& ema) const {
  const auto trained = [this](const Tensor& arena) { return parameters_->trainable(arena); };
  return {.parameters = trained(parameters_->values()),
          .m = trained(m_),
          .v = trained(v_),
          .gradients = trained(parameters_->gradients()),
          .ema = trained(ema),
          .rounded = trained(parameters_->rounded())};
}

AdamWOptions Adam::next_step(double learning_rate) const {
  return {.lr = learning_rate,
          .beta1 = options_.beta1,
          .beta2 = options_.beta2,
          .eps = options_.eps,
          .weight_decay = options_.weight_decay,
          .decoupled = options_.decoupled,
          .step = steps_ + 1};
}

void Adam::prepare(double learning_rate, double max_grad_norm, double decay) {
  AdamWOptions o = next_step(learning_rate);
  o.ema_decay = decay;
  const Tensor numbers = kernels::adamw_numbers(o, max_grad_norm);
  if (!numbers_) {
    numbers_ = Tensor(numbers.shape(), Dtype::f32, parameters_->device());
    squared_norm_ = Tensor({}, Dtype::f32, parameters_->device());
  }
  numbers_.copy_from(numbers);
}

void Adam::take_prepared(const Tensor& loss, const Tensor& ema) {
  parameters_->complete_gradients();
  kernels::clipped_adamw(arenas(ema), numbers_, loss, squared_norm_);
  parameters_->mark_rounded();
}

double ema_decay(const EmaOptions& o, int64_t step) {
  const int64_t s = std::max<int64_t>(0, step - o.update_after_step - 1);
  if (s == 0) return 0;
  const double n = static_cast<double>(s);
  const double decay = o.use_warmup ? 1 - std::pow(1 + n / o.inv_gamma, -o.power) : (1 + n) / (10 + n);
  return std::clamp(decay, o.min_decay, o.max_decay);
}

}  // namespace stipple
