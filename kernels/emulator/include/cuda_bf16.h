#pragma once
#include <cuda_runtime.h>

// bf16: the upper half of an f32, rounded to nearest even. Arithmetic is done in f32.

struct __nv_bfloat16 {
  uint16_t bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(float x) : bits(rounded(x)) {}
  operator float() const { return __builtin_bit_cast(float, uint32_t{bits} << 16); }

 private:
  static uint16_t rounded(float x) {
    const uint32_t u = __builtin_bit_cast(uint32_t, x);
    if (x != x) return 0x7FFF;
    return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
  }
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
