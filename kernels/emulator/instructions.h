#pragma once
#include "kernels/emulator/device.h"

// Instructions that CUDA C++ does not offer and kernels reach through kernels/cuda/ptx.h. Fragments are laid out over
// the lanes of a warp as the PTX manual draws them (PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions"):
// with g = lane / 4 and q = lane % 4, and pairs of bf16 in one register, the lower column in the lower half,
//   A 16x16 bf16  register r: row g + 8 (r & 1), columns 2q + 8 (r >> 1) and the next
//   A 16x8 bf16   register r: row g + 8 r, columns 2q and the next
//   A 16x8 tf32   register r: row g + 8 (r & 1), column q + 4 (r >> 1)
//   B 16x8 bf16   register r: rows 2q + 8 r and the next, column g
//   B 8x8 tf32    register r: row q + 4 r, column g
//   C 16x8 f32    register r: row g + 8 (r >> 1), column 2q + (r & 1)
// Products are exact and their sum with C is cut off to f32, towards zero: so do tensor cores, whose long sums come out
// the smaller for it (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores"). Not emulated: the few bits that
// hardware cuts off before it adds.

namespace emulator {

// d += A B. A warp's lanes all take part.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where = Where::current());
void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t& b, Where = Where::current());
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where = Where::current());

// 8x8 matrices of 16-bit elements from shared memory. Lane 8 i + r says where row r of matrix i begins (16 bytes,
// aligned); register i of a lane receives elements 2q and 2q + 1 of row g, or of column g for the transposed kind.
void ldmatrix_x1(uint32_t& to, const void* row, Where = Where::current());
void ldmatrix_x2(uint32_t (&to)[2], const void* row, Where = Where::current());
void ldmatrix_x4(uint32_t (&to)[4], const void* row, Where = Where::current());
void ldmatrix_x1_trans(uint32_t& to, const void* row, Where = Where::current());
void ldmatrix_x2_trans(uint32_t (&to)[2], const void* row, Where = Where::current());
void ldmatrix_x4_trans(uint32_t (&to)[4], const void* row, Where = Where::current());

// Copies from global to shared memory behind the kernel's back, to the wait: 4, 8 or 16 bytes, of which the first
// `valid` are copied and the rest become zero.
template <int kBytes>
void cp_async(void* shared, const void* global, int valid = kBytes);
void cp_async_commit();
void cp_async_wait(int most_groups_under_way);
void cp_async_wait_all();

uint32_t to_tf32(float);  // rounded to 10 bits of mantissa, to nearest, ties away from zero
float exp2_approximate(float);

}  // namespace emulator
