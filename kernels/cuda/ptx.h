#pragma once
#include <cuda_runtime.h>

#include <cstdint>

// Instructions that CUDA C++ does not offer, for sm_80 and up: inline assembly under nvcc,
// kernels/emulator/instructions.h under g++. That header draws how fragments lie over the lanes of a warp. (PTX ISA,
// chapters "Warp Level Matrix Multiply-Accumulate Instructions" and "Data Movement and Conversion Instructions".)
//
//   mma_m16n8k16_bf16(d, a, b)   d[4] += A B, f32 += bf16 16x16 times bf16 16x8
//   mma_m16n8k8_bf16(d, a, b)    likewise 16x8 times 8x8
//   mma_m16n8k8_tf32(d, a, b)    likewise, tf32
//   ldmatrix_x1, _x2, _x4 (to, row), and _trans: 8x8 matrices of 16-bit elements from shared memory
//   cp_async<bytes>(shared, global, valid)   a copy of 4, 8 or 16 bytes that goes on behind the kernel's back; bytes
//                                            from `valid` on become zero. 16 bytes go past L1, unless they are soon
//                                            wanted again: cp_async<16, Past::nothing>
//   cp_async_commit()            closes a group of copies
//   cp_async_wait<n>()           until at most n groups are under way; other threads' copies need a barrier besides
//   named_barrier(id, threads)   __syncthreads for a part of the block; id from 1 to 15
//   to_tf32(x), exp2_approximate(x)
//   kept(x)                      x, in a register: the compiler would work it out again wherever it is needed

namespace stipple::ptx {
enum class Past { l1, nothing };
}

#ifndef __CUDACC__
#include "kernels/emulator/instructions.h"

namespace stipple::ptx {

using emulator::cp_async_commit;
using emulator::exp2_approximate;
using emulator::ldmatrix_x1;
using emulator::ldmatrix_x1_trans;
using emulator::ldmatrix_x2;
using emulator::ldmatrix_x2_trans;
using emulator::ldmatrix_x4;
using emulator::ldmatrix_x4_trans;
using emulator::mma_m16n8k16_bf16;
using emulator::mma_m16n8k8_bf16;
using emulator::mma_m16n8k8_tf32;
using emulator::to_tf32;

template <int kBytes, Past = Past::l1>
inline void cp_async(void* shared, const void* global, int valid = kBytes) {
  emulator::cp_async<kBytes>(shared, global, valid);
}
template <int kGroups>
inline void cp_async_wait() {
  emulator::cp_async_wait(kGroups);
}
template <typename T>
inline T kept(T x) {
  return x;
}
inline void named_barrier(int id, int threads, emulator::Where where = emulator::Where::current()) {
  emulator::named_barrier(id, threads, where);
}

}  // namespace stipple::ptx

#else

namespace stipple::ptx {

__device__ inline uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t& b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b));
}

__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void ldmatrix_x1(uint32_t& to, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(to) : "r"(shared_address(row)) : "memory");
}
__device__ inline void ldmatrix_x1_trans(uint32_t& to, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(to)
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x2(uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x2_trans(uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x4(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x4_trans(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

// Only copies of 16 bytes can go past L1 (.cg).
template <int kBytes, Past kPast = Past::l1>
__device__ inline void cp_async(void* shared, const void* global, int valid = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16 && kPast == Past::l1)
    asm volatile("cp.async.cg.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "n"(kBytes), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "n"(kBytes), "r"(valid)
                 : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroups>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kGroups) : "memory");
}

__device__ inline void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" : : "r"(id), "r"(threads) : "memory");
}

__device__ inline int kept(int x) {
  asm("" : "+r"(x));
  return x;
}
template <typename T>
__device__ inline T* kept(T* x) {
  asm("" : "+l"(x));
  return x;
}

__device__ inline uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace stipple::ptx

#endif
