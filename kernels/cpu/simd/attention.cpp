#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

// The lane-wise half of attention: queries are lanes, keys are rows, so that maxima and sums over keys never cross
// lanes.

namespace stipple::simd::STIPPLE_SIMD {

// 2^x for x <= 0, to 2 ulp; below -126 it stays at 2^-126; NaN stays NaN. x = n + r with |r| <= 1/2; 2^r by the minimax
// polynomial of degree 5 (Remez; relative error 8e-8), and n goes straight into the exponent.
static inline Vec exp2_of_negative(Vec x) {
  const Vec clamped = max(splat(-126.f), x);
  const Vec shifted =
      clamped + splat(12582912.f);  // 1.5 * 2^23: rounds to the nearest integer, and leaves it in the low bits
  const Vec r = clamped - (shifted - splat(12582912.f));
  Vec p = splat(0.0013276472f);
  p = p * r + splat(0.00967554133f);
  p = p * r + splat(0.0555071327f);
  p = p * r + splat(0.240221197f);
  p = p * r + splat(0.693146967f);
  p = p * r + splat(1.f);
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}

typedef float Quad __attribute__((vector_size(16)));

static inline Quad load_quad(const float* p) {
  Quad v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline void store_quad(float* p, Quad v) { __builtin_memcpy(p, &v, sizeof v); }

static inline void transpose_4x4(float* to, int64_t to_row, const float* from, int64_t from_row, float scale) {
  const Quad a = load_quad(from) * scale, b = load_quad(from + from_row) * scale;
  const Quad c = load_quad(from + 2 * from_row) * scale, d = load_quad(from + 3 * from_row) * scale;
  const Quad ac_low = __builtin_shufflevector(a, c, 0, 4, 1, 5), ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7);
  const Quad bd_low = __builtin_shufflevector(b, d, 0, 4, 1, 5), bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
  store_quad(to, __builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5));
  store_quad(to + to_row, __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7));
  store_quad(to + 2 * to_row, __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5));
  store_quad(to + 3 * to_row, __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7));
}

void transpose(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows, int64_t columns,
               float scale) {
  for (int64_t r = 0; r < rows; r += 4)
    for (int64_t c = 0; c < columns; c += 4) {
      if (r + 4 <= rows && c + 4 <= columns) {
        transpose_4x4(to + c * to_row + r, to_row, from + r * from_row + c, from_row, scale);
        continue;
      }
      for (int64_t i = r; i < r + 4 && i < rows; ++i)
        for (int64_t j = c; j < c + 4 && j < columns; ++j) to[j * to_row + i] = scale * from[i * from_row + j];
    }
}

void softmax_columns(float* s, float* largest, float* total, float* rescale, int64_t rows, int64_t columns,
                     int64_t row) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vec before = load(largest + c);
    Vec m = before, sum{};
    for (int64_t r = 0; r < rows; ++r) m = max(m, load(s + r * row + c));
    for (int64_t r = 0; r < rows; ++r) {
      const Vec p = exp2_of_negative(load(s + r * row + c) - m);
      store(s + r * row + c, p);
      sum += p;
    }
    const Vec factor = exp2_of_negative(before - m);
    store(rescale + c, factor);
    store(total + c, load(total + c) * factor + sum);
    store(largest + c, m);
  }
}

void softmax_columns_backward(float* s, float* dp, const float* lse, const float* delta, int64_t rows, int64_t columns,
                              int64_t row) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vec shift = load(lse + c), mean = load(delta + c);
    for (int64_t at = c; at < c + rows * row; at += row) {
      const Vec p = exp2_of_negative(load(s + at) - shift);
      store(s + at, p);
      store(dp + at, p * (load(dp + at) - mean));
    }
  }
}

void scale_columns(float* x, const float* factor, int64_t rows, int64_t columns, int64_t row) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; c += kLanes) store(x + r * row + c, load(x + r * row + c) * load(factor + c));
}

}  // namespace stipple::simd::STIPPLE_SIMD
