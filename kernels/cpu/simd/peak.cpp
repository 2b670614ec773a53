#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

namespace stipple::simd::STIPPLE_SIMD {

int64_t multiply_adds(float* keep, int64_t steps) {
  constexpr int kChains = 12;  // two units of four to five cycles' latency need ten
  Vec sums[kChains];
  const Vec x = load(keep), y = splat(0.5f);
  for (int c = 0; c < kChains; ++c) sums[c] = splat(static_cast<float>(c));
  for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = sums[c] * y + x;
  Vec total{};
  for (int c = 0; c < kChains; ++c) total = total + sums[c];
  store(keep, total);
  return steps * kChains * kLanes * 2;
}

}  // namespace stipple::simd::STIPPLE_SIMD
