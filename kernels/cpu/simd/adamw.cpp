#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace stipple::simd::STIPPLE_SIMD {

static inline Vec square_root(Vec x) {
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

// Lanes beyond the end compute with zeros: harmless, and never stored.
template <typename Load, typename Store>
static inline void step(float* p, float* m, float* v, float* ema, const float* gradient, const AdamStep<float>& k,
                        const Load& get, const Store& put) {
  const Vec before = get(p), g = k.gradient_scale * get(gradient) + k.l2 * before;
  const Vec first = get(m) + k.rest1 * (g - get(m)), second = k.beta2 * get(v) + k.rest2 * g * g;
  const Vec after = k.keep * before - k.step_size * first / (k.root_correction * square_root(second) + k.eps);
  put(m, first);
  put(v, second);
  put(p, after);
  if (ema) put(ema, get(ema) - k.ema_rest * (get(ema) - after));
}

void adamw(float* p, float* m, float* v, float* ema, const float* gradient, int64_t n, const AdamStep<float>& k) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(p + i, m + i, v + i, ema ? ema + i : nullptr, gradient + i, k, load, store);
  const auto get = [=](const float* from) { return load_first(from, n - i); };
  const auto put = [=](float* to, Vec x) { store_first(to, x, n - i); };
  if (i < n) step(p + i, m + i, v + i, ema ? ema + i : nullptr, gradient + i, k, get, put);
}

}  // namespace stipple::simd::STIPPLE_SIMD
