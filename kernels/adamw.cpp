#include "kernels/adamw.h"

#include <cmath>

#include "kernels/adamw_numbers.h"
#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_like(const char* name, const Tensor& x, const Tensor& parameters) {
  check(x.shape() == parameters.shape() && x.dtype() == parameters.dtype(), "adamw: {} {} for parameters {}", name,
        describe(x), describe(parameters));
}

}  // namespace

void adamw(const Tensor& parameters, const Tensor& m, const Tensor& v, const Tensor& ema, const Tensor& gradients,
           const AdamWOptions& o) {
  check(o.step >= 1, "adamw: steps count from 1, got {}", o.step);
  check_like("first moment", m, parameters);
  check_like("second moment", v, parameters);
  check_like("gradient", gradients, parameters);
  if (o.ema_decay >= 0) check_like("moving average", ema, parameters);
  launch<&cpu::adamw, &cuda::adamw>(parameters.device(), parameters, m, v, ema, gradients, o);
}

Tensor adamw_numbers(const AdamWOptions& o, double max_grad_norm) {
  check(o.step >= 1, "adamw: steps count from 1, got {}", o.step);
  const AdamWNumbers numbers(o, max_grad_norm);
  return Tensor::of<float>({kAdamWNumbers}, std::span(reinterpret_cast<const float*>(&numbers), kAdamWNumbers));
}

void clipped_adamw(const Tensor& parameters, const Tensor& m, const Tensor& v, const Tensor& ema,
                   const Tensor& gradients, const Tensor& numbers, const Tensor& loss, const Tensor& squared_norm) {
  check_like("first moment", m, parameters);
  check_like("second moment", v, parameters);
  check_like("gradient", gradients, parameters);
  if (ema) check_like("moving average", ema, parameters);
  check(numbers.numel() == kAdamWNumbers, "adamw: {} is not adamw_numbers()", describe(numbers));
#ifdef STIPPLE_CUDA
  if (parameters.device() == Device::cuda)
    return cuda::clipped_adamw(parameters, m, v, ema, gradients, numbers, loss, squared_norm);
#endif
  fail("clipped_adamw: a step on {} is adamw()", name_of(parameters.device()));
}

double squared_norm(const Tensor& x) {
  double sum = 0;
  launch<&cpu::squared_norm, &cuda::squared_norm>(x.device(), sum, x);
  return sum;
}

}  // namespace stipple::kernels
