#pragma once
#include <stdint.h>

// Four floats, a vector every instruction set has: for transposing.

namespace stipple::simd::STIPPLE_SIMD {

typedef float Quad __attribute__((vector_size(16)));

static inline Quad load_quad(const float* p) {
  Quad v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
static inline void store_quad(float* p, Quad v) { __builtin_memcpy(p, &v, sizeof v); }

static inline void transpose(Quad (&row)[4]) {
  const Quad a = __builtin_shufflevector(row[0], row[2], 0, 4, 1, 5),
             c = __builtin_shufflevector(row[0], row[2], 2, 6, 3, 7);
  const Quad b = __builtin_shufflevector(row[1], row[3], 0, 4, 1, 5),
             d = __builtin_shufflevector(row[1], row[3], 2, 6, 3, 7);
  row[0] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  row[1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  row[2] = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  row[3] = __builtin_shufflevector(c, d, 2, 6, 3, 7);
}

}  // namespace stipple::simd::STIPPLE_SIMD
