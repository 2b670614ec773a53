#pragma once
#include <cuda_bf16.h>

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/vector_access.h"

// What a tensor core multiplies, by the element type that lies in memory and the precision that is asked for. One step
// takes 32 bytes of depth: 16 steps of bf16, 8 of f32. Fragments of 16 x 32 bytes (a, four registers) and 32 bytes x 8
// (b, two) lie as kernels/emulator/instructions.h draws them.

namespace stipple::cuda {

struct Bf16 {
  using Element = __nv_bfloat16;
  static constexpr int kParts = 1;  // summands an operand is taken apart into

  __device__ static void split(uint32_t (&parts)[kParts], uint32_t bits) { parts[0] = bits; }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[kParts][4], const uint32_t (&b)[kParts][2]) {
    ptx::mma_m16n8k16_bf16(d, a[0], b[0]);
  }
};

// To 10 bits of mantissa, which is all that tensor cores read of an f32: they cut the others off, so what is to be
// rounded has to be a little larger before. One multiplication makes it .69 of half a unit in the last place larger on
// average, which centres the error, at most .7 of a unit; numbers of 10 bits stay as they are, and so do infinity and
// NaN. cvt.rna rounds better (at most .5), in two instructions that a main loop has no room for.
__device__ inline float nearly_rounded_to_tf32(float x) { return x * (1 + 0.69f / 2048); }

// f32 rounded to tf32.
struct Tf32 {
  using Element = float;
  static constexpr int kParts = 1;

  __device__ static void split(uint32_t (&parts)[kParts], uint32_t bits) {
    parts[0] = __float_as_uint(nearly_rounded_to_tf32(__uint_as_float(bits)));
  }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[kParts][4], const uint32_t (&b)[kParts][2]) {
    ptx::mma_m16n8k8_tf32(d, a[0], b[0]);
  }
};

// f32 as the sum of two tf32 numbers, off by 2^-20.5 of it at most, either way: of the four products the smallest is
// left out, and sums err about as f32's do. (Both parts rounded to nearest are off by 2^-22; flash attention over heads
// of 256 channels then spilled registers.) Three times the work of tf32, and still more than twice as fast as an H100's
// multiply-adds. Ootomo & Yokota 2022, arXiv:2203.03341.
struct F32 {
  using Element = float;
  static constexpr int kParts = 2;

  __device__ static void split(uint32_t (&parts)[kParts], uint32_t bits) {
    constexpr uint32_t kTf32Bits = 0xFFFFE000;
    const float x = __uint_as_float(bits);
    parts[0] = __float_as_uint(nearly_rounded_to_tf32(x)) & kTf32Bits;
    parts[1] = __float_as_uint(x - __uint_as_float(parts[0]));
  }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[kParts][4], const uint32_t (&b)[kParts][2]) {
    ptx::mma_m16n8k8_tf32(d, a[1], b[0]);
    ptx::mma_m16n8k8_tf32(d, a[0], b[1]);
    ptx::mma_m16n8k8_tf32(d, a[0], b[0]);
  }
};

// Precision::multiply, for long sums. Tensor cores cut sums off where f32 rounds, and what is lost adds up: on an H200
// a product of f32 over a depth of 300 was off by 2e-6. So f32's products of a step are summed apart and added as f32
// (the same paper, section 3.2); what tf32 and bf16 lose so is small beside what they have rounded before.
template <typename Precision>
__device__ inline void multiply_of_many(float (&d)[4], const uint32_t (&a)[Precision::kParts][4],
                                        const uint32_t (&b)[Precision::kParts][2]) {
  if constexpr (Precision::kParts == 1) return Precision::multiply(d, a, b);
  float step[4] = {};
  Precision::multiply(step, a, b);
#pragma unroll
  for (int i = 0; i < 4; ++i) d[i] += step[i];
}

// Takes the registers of a fragment apart.
template <typename Precision, int kRegisters>
__device__ inline void split(uint32_t (&parts)[Precision::kParts][kRegisters], const uint32_t (&raw)[kRegisters]) {
#pragma unroll
  for (int i = 0; i < kRegisters; ++i) {
    uint32_t each[Precision::kParts];
    Precision::split(each, raw[i]);
#pragma unroll
    for (int part = 0; part < Precision::kParts; ++part) parts[part][i] = each[part];
  }
}

// Two neighbours in one access; `to` is a multiple of both.
__device__ inline void store_pair(float* to, float first, float second) { store_vector(to, float2{first, second}); }
__device__ inline void store_pair(__nv_bfloat16* to, float first, float second) {
  store_vector(to, __floats2bfloat162_rn(first, second));
}

// Where a warp's lane stands in fragments.
__device__ inline int lane() { return threadIdx.x % 32; }
__device__ inline int fragment_row() { return lane() / 4; }         // g
__device__ inline int fragment_column() { return lane() % 4 * 2; }  // 2q, of sums

}  // namespace stipple::cuda
