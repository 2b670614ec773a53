#pragma once
// A vector of floats as wide as the instruction set this unit is compiled for, by the compilers' vector extension: the
// same source makes AVX-512, AVX2, SSE2 and NEON code.
//
// Every file of this folder is compiled once an instruction set, with STIPPLE_SIMD naming its namespace. Such a unit must
// instantiate nothing that another unit could instantiate too (no standard library, no shared templates or inline
// functions): the linker keeps one copy, and it might be the one this machine cannot run.

#include <stdint.h>

namespace stipple::simd::STIPPLE_SIMD {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));

static inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
static inline Vec splat(float x) { return x - Vec{}; }

// The first n elements, at most kLanes; the others are zero, or left alone in memory.
static inline Vec load_first(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  Vec v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
static inline void store_first(float* p, Vec v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

// Half as many doubles, as wide as a vector of floats.
inline constexpr int kHalf = kLanes / 2;
typedef float HalfVec __attribute__((vector_size(4 * kHalf)));
typedef double DoubleVec __attribute__((vector_size(8 * kHalf)));
typedef int64_t LongVec __attribute__((vector_size(8 * kHalf)));

static inline DoubleVec load_wide(const float* p) {
  HalfVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, DoubleVec);
}

// sums[i] += v[i] for the first n lanes
static inline void add_in_double(double* sums, Vec v, int64_t n) {
  float lanes[kLanes];
  store(lanes, v);
  if (n >= kLanes)
    for (int half = 0; half < kLanes; half += kHalf) {
      DoubleVec sum;
      __builtin_memcpy(&sum, sums + half, sizeof sum);
      sum += load_wide(lanes + half);
      __builtin_memcpy(sums + half, &sum, sizeof sum);
    }
  else
    for (int64_t i = 0; i < n; ++i) sums[i] += lanes[i];
}
static inline void add_in_double(double* sums, DoubleVec v, int64_t n) {
  for (int64_t i = 0; i < kHalf && i < n; ++i) sums[i] += v[i];
}

static inline Vec min(Vec a, Vec b) { return a < b ? a : b; }
static inline Vec max(Vec a, Vec b) { return a > b ? a : b; }

// The sum of the lanes, in an order that depends on nothing but their number.
static inline float sum(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}
static inline float largest(Vec v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

// exp x to 2 ulp over the finite range; 0 below -87.3, inf above 88.7, NaN stays NaN. x = n ln 2 + r with
// |r| <= ln 2 / 2, and e^r by a polynomial of degree 6 (Cephes' expf coefficients).
static inline Vec exp(Vec x) {
  const Vec clamped = max(min(x, splat(88.8f)), splat(-88.0f));
  const Vec shifted = clamped * splat(1.44269504f) + splat(12582912.f);  // 1.5 * 2^23: rounds to the nearest integer
  const Vec n = shifted - splat(12582912.f);
  Vec r = clamped - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  Vec p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * r * r + r + splat(1.f);
  // 2^n in two factors, so that n = 128 and n = -127 need no special case.
  const IntVec exponent = __builtin_convertvector(n, IntVec);
  const IntVec half = exponent >> 1;
  const Vec scale_1 = (Vec)((half + 127) << 23), scale_2 = (Vec)((exponent - half + 127) << 23);
  const Vec y = p * scale_1 * scale_2;
  const Vec low = x < splat(-87.33655f) ? Vec{} : y;
  return x != x ? x : low;
}

// 2^x for -126 <= x <= 127, to 2 ulp; NaN stays NaN. x = n + r with |r| <= 1/2; 2^r by the minimax polynomial of
// degree 5 (Remez; relative error 8e-8), and n is added to the exponent's bits.
static inline Vec exp2_within(Vec x) {
  const Vec shifted =
      x + splat(12582912.f);  // 1.5 * 2^23: rounds to the nearest integer, and leaves it in the low bits
  const Vec r = x - (shifted - splat(12582912.f));
  Vec p = splat(0.0013276472f);
  p = p * r + splat(0.00967554133f);
  p = p * r + splat(0.0555071327f);
  p = p * r + splat(0.240221197f);
  p = p * r + splat(0.693146967f);
  p = p * r + splat(1.f);
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}

// 2^x for x <= 0, or 2^-126 where that is less. The bound stands first in max, so that NaN stays NaN.
static inline Vec exp2_of_negative(Vec x) { return exp2_within(max(splat(-126.f), x)); }

// 1 / (1 + e^-x). Beyond +-87 it stays at 1e-38 and 1.
static inline Vec sigmoid(Vec x) {
  const Vec bounded = max(splat(-126.f), min(splat(126.f), x * splat(-1.44269504f)));
  return splat(1.f) / (splat(1.f) + exp2_within(bounded));
}

// 2^x for -1022 <= x <= 1023 with a relative error of 2e-10, a hundredth of an f32's rounding; NaN stays NaN. As above, with
// the Taylor series to degree 8.
static inline DoubleVec exp2_within(DoubleVec x) {
  const DoubleVec shifted = x + 0x1.8p52;
  const DoubleVec r = x - (shifted - 0x1.8p52);
  DoubleVec p = r * 1.321548679014431e-6 + 1.525273380405984e-5;
  p = p * r + 1.540353039338161e-4;
  p = p * r + 1.333355814642844e-3;
  p = p * r + 9.618129107628477e-3;
  p = p * r + 5.550410866482158e-2;
  p = p * r + 0.2402265069591007;
  p = p * r + 0.6931471805599453;
  p = p * r + 1.0;
  return (DoubleVec)((LongVec)p + ((LongVec)shifted << 52));
}

static inline DoubleVec sigmoid(DoubleVec x) {
  const DoubleVec exponent = x * -1.4426950408889634, most = 1000 - DoubleVec{};
  const DoubleVec bounded = exponent > most ? most : exponent < -most ? -most : exponent;
  return 1.0 / (1.0 + exp2_within(bounded));
}

// silu'(x) = s + x s (1 - s) with s = sigmoid(x)
template <typename V>
static inline V silu_slope(V x) {
  const V s = sigmoid(x);
  return s + x * s * (1.f - s);
}

}  // namespace stipple::simd::STIPPLE_SIMD
