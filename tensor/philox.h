#pragma once
#include <math.h>

#include <cstdint>

// Philox4x32-10 and what is made of its words, as plain functions for CPU and GPU: a 128-bit counter and a 64-bit key
// go in, 128 random bits come out (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//
// Normals are Box & Muller's (1958): with u in (0, 1] and v in [0, 1), sqrt(-2 log u) cos(2 pi v) and sqrt(-2 log u)
// sin(2 pi v) are two independent ones. Logarithm, sine and cosine are ours, in plain float operations, so that every
// device and every mathematical library gives the same bits. For that a unit that includes this file is compiled
// without contraction of a * b + c to one rounding (-ffp-contract=off, nvcc -fmad=false), and the functions are static:
// the linker may not mix units.

#ifdef __CUDACC__
#define STIPPLE_HOST_DEVICE __host__ __device__
#else
#define STIPPLE_HOST_DEVICE
#endif

namespace stipple::philox {

template <typename T>
struct Four {
  T lane[4];
};
using Words = Four<uint32_t>;

STIPPLE_HOST_DEVICE static constexpr uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
STIPPLE_HOST_DEVICE static constexpr uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }

// Ten rounds of two multiplications and a shuffle; the key grows by Weyl constants (golden ratio, sqrt 3 - 1).
STIPPLE_HOST_DEVICE static constexpr Words bijection(Words counter, uint32_t key_0, uint32_t key_1) {
  Words c = counter;
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c.lane[0], b = uint64_t{0xCD9E8D57} * c.lane[2];
    c = Words{{high(b) ^ c.lane[1] ^ key_0, low(b), high(a) ^ c.lane[3] ^ key_1, low(a)}};
    key_0 += 0x9E3779B9;
    key_1 += 0xBB67AE85;
  }
  return c;
}

// Block number `offset` of the stream of `seed`.
STIPPLE_HOST_DEVICE static constexpr Words block(uint64_t seed, uint64_t offset) {
  return bijection(Words{{low(offset), high(offset), 0, 0}}, low(seed), high(seed));
}

// log x for finite normal x > 0, to 1 ulp. x = 2^e m with m in [sqrt 1/2, sqrt 2); log m by a polynomial in m - 1
// (Cephes' logf coefficients), e log 2 in two parts.
STIPPLE_HOST_DEVICE static constexpr float log(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t from_sqrt_half = bits - 0x3F3504F3;
  const float e = static_cast<float>(static_cast<int32_t>(from_sqrt_half) >> 23);
  const float m = __builtin_bit_cast(float, (from_sqrt_half & 0x007FFFFFu) + 0x3F3504F3u) - 1.f;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float square = m * m;
  float tail = p * m * square;
  tail = tail - 2.12194440e-4f * e;
  tail = tail - 0.5f * square;
  return m + tail + 0.693359375f * e;
}

struct SinCos {
  float sin, cos;
};

// Sine and cosine of 2 pi turns / 2^32, to 1 ulp of their own size. The two uppermost bits, rounded, are the quadrant;
// the rest is an angle in
// [-pi/4, pi/4), exact until it is a float (Cephes' sinf and cosf coefficients).
STIPPLE_HOST_DEVICE static constexpr SinCos sincos_of_turns(uint32_t turns) {
  const uint32_t quadrant = (turns + 0x20000000u) >> 30;
  const float x =
      static_cast<float>(static_cast<int32_t>(turns - (quadrant << 30))) * 1.46291807927e-9f;  // 2 pi / 2^32
  const float z = x * x;
  const float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
  const float c =
      ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.f;
  const float sin = quadrant & 1 ? c : s, cos = quadrant & 1 ? s : c;
  return {quadrant & 2 ? -sin : sin, (quadrant + 1) & 2 ? -cos : cos};
}

// In [0, 1), multiples of 2^-24.
STIPPLE_HOST_DEVICE static constexpr Four<float> uniform(Words w) {
  Four<float> out{};
  for (int i = 0; i < 4; ++i) out.lane[i] = static_cast<float>(w.lane[i] >> 8) * 0x1p-24f;
  return out;
}

STIPPLE_HOST_DEVICE static inline Four<float> normal(Words w) {
  Four<float> out{};
  for (int i = 0; i < 4; i += 2) {
    const float u = (static_cast<float>(w.lane[i]) + 0.5f) * 0x1p-32f;  // in (0, 1]
    const float radius = sqrtf(-2.f * log(u));
    const SinCos angle = sincos_of_turns(w.lane[i + 1]);
    out.lane[i] = radius * angle.cos;
    out.lane[i + 1] = radius * angle.sin;
  }
  return out;
}

// In [0, range), range <= 2^32: word range / 2^32, rounded down.
STIPPLE_HOST_DEVICE static constexpr uint32_t bounded(uint32_t word, uint64_t range) { return high(word * range); }

}  // namespace stipple::philox
