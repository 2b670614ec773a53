#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace stipple::simd::STIPPLE_SIMD {

void silu(float* y, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = load(x + i);
    store(y + i, v * sigmoid(v));
  }
  const Vec v = load_first(x + i, n - i);
  store_first(y + i, v * sigmoid(v), n - i);
}

void silu_backward(float* dx, const float* dy, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dx + i, load(dy + i) * silu_slope(load(x + i)));
  store_first(dx + i, load_first(dy + i, n - i) * silu_slope(load_first(x + i, n - i)), n - i);
}

}  // namespace stipple::simd::STIPPLE_SIMD
