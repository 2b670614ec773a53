#pragma once
#include "kernels/adamw.h"
#include "nn/parameter.h"

namespace stipple {

// Adam (Kingma & Ba 2015, arXiv:1412.6980) and AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), as torch.optim has
// them.
struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = true;  // AdamW; false: Adam, whose decay is added to the gradient
};

// Clip, AdamW, EMA and the rounding of new values (Parameters::compute_in) in one pass over the flat arenas.
class Adam {
 public:
  Adam(Parameters&, const AdamOptions&);

  // One step with the gradients at hand (see Parameters::clear_gradients). They are scaled down to a norm of
  // max_grad_norm where that is positive and exceeded, as torch.nn.utils.clip_grad_norm_. `ema`, where defined, moves
  // towards the new values by 1 - ema_decay. Returns the norm before clipping; where that is not finite, nothing is
  // changed.
  double step(double learning_rate, double max_grad_norm, const Tensor& ema = {}, double ema_decay = 0);

  // The same on CUDA in parts, of which the middle one can be captured in a graph: it finds the step's numbers in
  // device memory and leaves the gradients' squared norm [] there. Where that or `loss` [] is not finite, nothing is
  // changed and the step must not be counted.
  void prepare(double learning_rate, double max_grad_norm, double ema_decay = 0);
  void take_prepared(const Tensor& loss, const Tensor& ema);
  const Tensor& squared_norm() const { return squared_norm_; }

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  const Tensor& first_moment() const { return m_; }
  const Tensor& second_moment() const { return v_; }

 private:
  AdamWOptions next_step(double learning_rate) const;
  AdamWArenas arenas(const Tensor& ema) const;

  Parameters* parameters_;
  AdamOptions options_;
  Tensor m_, v_;
  Tensor numbers_, squared_norm_;  // of a prepared step
  int64_t steps_ = 0;
};

// Exponential moving average of the weights, with the decay schedule of diffusers' EMAModel (training_utils.py).
struct EmaOptions {
  double max_decay = 0.9999, min_decay = 0;
  int64_t update_after_step = 0;
  bool use_warmup = true;  // decay 1 - (1 + s/inv_gamma)^-power; else (1 + s) / (10 + s)
  double inv_gamma = 1, power = 0.75;
};

double ema_decay(const EmaOptions&, int64_t step);  // step counts from 1; 0 means: copy the weights

}  // namespace stipple
