#pragma once
#include "tensor/tensor.h"

// One optimizer step over a flat arena: clip, Adam (Kingma & Ba 2015, arXiv:1412.6980) or AdamW (Loshchilov & Hutter
// 2019, arXiv:1711.05101), the moving average of the parameters, and their copy in bf16, in one pass over memory. f32
// and f64. As torch.optim does it:
//
//   g = gradient_scale gradient (+ weight_decay p where not decoupled)     p -= lr weight_decay p, where decoupled
//   m += (1 - beta1) (g - m)      v = beta2 v + (1 - beta2) g^2
//   p -= lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)  ema -= (1 - ema_decay) (ema - p)

namespace stipple {

struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0.01;
  bool decoupled = true;      // AdamW; otherwise Adam with L2 regularisation
  int64_t step = 1;           // of this update, from 1
  double gradient_scale = 1;  // the factor of gradient clipping
  double ema_decay = 0;       // where a moving average is kept
};

struct AdamWArenas {
  Tensor parameters, m, v, gradients;  // of one shape and dtype
  Tensor ema;                          // like them; undefined: no moving average is kept
  Tensor rounded;  // bf16, on CUDA: becomes the new parameters, rounded; undefined: nobody wants them so
};

namespace kernels {
void adamw(const AdamWArenas&, const AdamWOptions&);
// The same step on CUDA with nothing passing through the host, so that a graph can hold it. `numbers` are
// adamw_numbers() of the step, on the GPU; gradient_scale is made there, for a norm of at most max_grad_norm where that
// is positive. Where `loss` [] or the norm is not finite, nothing changes. Leaves sum gradient^2 in squared_norm [].
void clipped_adamw(const AdamWArenas&, const Tensor& numbers, const Tensor& loss, const Tensor& squared_norm);
Tensor adamw_numbers(const AdamWOptions&, double max_grad_norm);  // f32, on the host

// sum x^2, in double and in a fixed order: what gradient clipping needs.
double squared_norm(const Tensor& x);
}  // namespace kernels

namespace cpu {
void adamw(const AdamWArenas&, const AdamWOptions&);
void squared_norm(double& sum, const Tensor& x);
}  // namespace cpu

namespace cuda {
void adamw(const AdamWArenas&, const AdamWOptions&);
void squared_norm(double& sum, const Tensor& x);
void clipped_adamw(const AdamWArenas&, const Tensor& numbers, const Tensor& loss, const Tensor& squared_norm);
}  // namespace cuda

}  // namespace stipple
