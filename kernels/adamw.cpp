#include "kernels/adamw.h"

#include <cmath>

#include "kernels/adamw_numbers.h"
#include "kernels/launch.h"

namespace stipple::kernels {
namespace {

void check_like(const char* name, const Tensor& x, const Tensor& parameters, Dtype dtype) {
  check(x.shape() == parameters.shape() && x.dtype() == dtype, "adamw: {} {} for parameters {}", name, describe(x),
        describe(parameters));
}

void check_arenas(const AdamWArenas& a) {
  const Tensor& p = a.parameters;
  check_like("first moment", a.m, p, p.dtype());
  check_like("second moment", a.v, p, p.dtype());
  check_like("gradient", a.gradients, p, p.dtype());
  if (a.ema) check_like("moving average", a.ema, p, p.dtype());
  if (a.rounded) check_like("rounded copy", a.rounded, p, Dtype::bf16);
  check(!a.rounded || p.device() == Device::cuda, "adamw: parameters on {} have no rounded copy", name_of(p.device()));
}

}  // namespace

void adamw(const AdamWArenas& arenas, const AdamWOptions& o) {
  check(o.step >= 1, "adamw: steps count from 1, got {}", o.step);
  check_arenas(arenas);
  launch<&cpu::adamw, &cuda::adamw>(arenas.parameters.device(), arenas, o);
}

Tensor adamw_numbers(const AdamWOptions& o, double max_grad_norm) {
  check(o.step >= 1, "adamw: steps count from 1, got {}", o.step);
  const AdamWNumbers numbers(o, max_grad_norm);
  return Tensor::of<float>({kAdamWNumbers}, std::span(reinterpret_cast<const float*>(&numbers), kAdamWNumbers));
}

void clipped_adamw(const AdamWArenas& arenas, const Tensor& numbers, [[maybe_unused]] const Tensor& loss,
                   [[maybe_unused]] const Tensor& squared_norm) {
  check_arenas(arenas);
  check(numbers.numel() == kAdamWNumbers, "adamw: {} is not adamw_numbers()", describe(numbers));
#ifdef STIPPLE_CUDA
  if (arenas.parameters.device() == Device::cuda) return cuda::clipped_adamw(arenas, numbers, loss, squared_norm);
#endif
  fail("clipped_adamw: a step on {} is adamw()", name_of(arenas.parameters.device()));
}

double squared_norm(const Tensor& x) {
  double sum = 0;
  launch<&cpu::squared_norm, &cuda::squared_norm>(x.device(), sum, x);
  return sum;
}

}  // namespace stipple::kernels
