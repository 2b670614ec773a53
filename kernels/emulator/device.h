#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/emulator/vector_types.h"

// What a kernel sees: its place in the grid, barriers, shuffles, votes, atomics, mathematical functions. Every function
// that waits takes the line it was called from, so that a report can say where threads stand.

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

namespace emulator {

using Where = std::source_location;

struct Position {
  uint3 thread, block;
  dim3 threads, blocks;
};
extern constinit thread_local const Position* position;  // of the thread that runs

void block_barrier(Where);
void named_barrier(int id, int threads, Where);
void warp_barrier(uint32_t mask, Where);
// Every lane of the mask brings `bits` and gets those of lane `source`.
uint64_t shuffle(uint32_t mask, uint64_t bits, int source, Where);
uint32_t ballot(uint32_t mask, bool predicate, Where);
int lane();

std::byte* dynamic_shared_memory();  // of this block, aligned to 1024 bytes
// Shared memory that stands for a __shared__ variable: the same for all threads of a block that ask with one key.
std::byte* static_shared_memory(const void* key, size_t bytes, size_t alignment);

template <typename T>
T shuffle_value(uint32_t mask, T value, int source, Where where) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// 4, 8 or 16 bytes in one access, which the compiler may neither split nor merge.
void load(void* to, const void* from, size_t bytes);
void store(void* to, const void* from, size_t bytes);

// Read, modify and write as one step, also against blocks that run on other processors.
uint32_t atomic_add(uint32_t*, uint32_t);
uint64_t atomic_add(uint64_t*, uint64_t);
float atomic_add(float*, float);
uint32_t atomic_exchange(uint32_t*, uint32_t);
uint32_t atomic_compare_and_swap(uint32_t*, uint32_t expected, uint32_t desired);
int32_t atomic_maximum(int32_t*, int32_t);
int32_t atomic_minimum(int32_t*, int32_t);

}  // namespace emulator

#define threadIdx (::emulator::position->thread)
#define blockIdx (::emulator::position->block)
#define blockDim (::emulator::position->threads)
#define gridDim (::emulator::position->blocks)
inline constexpr int warpSize = 32;

// Barriers and fences. Threads of a block run one at a time and see each other's stores at once: fences do nothing.

inline void __syncthreads(emulator::Where where = emulator::Where::current()) { emulator::block_barrier(where); }
inline void __syncwarp(uint32_t mask = 0xFFFFFFFF, emulator::Where where = emulator::Where::current()) {
  emulator::warp_barrier(mask, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Shuffles: `width` cuts a warp into segments, and no value crosses a segment's border.

template <typename T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, emulator::Where where = emulator::Where::current()) {
  const int segment = emulator::lane() / width * width;
  return emulator::shuffle_value(mask, value, segment + (source & (width - 1)), where);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 emulator::Where where = emulator::Where::current()) {
  const int lane = emulator::lane(), source = lane - static_cast<int>(delta);
  return emulator::shuffle_value(mask, value, source < lane / width * width ? lane : source, where);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   emulator::Where where = emulator::Where::current()) {
  const int lane = emulator::lane(), source = lane + static_cast<int>(delta);
  return emulator::shuffle_value(mask, value, source >= (lane / width + 1) * width ? lane : source, where);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = 32,
                  emulator::Where where = emulator::Where::current()) {
  const int lane = emulator::lane(), source = lane ^ lane_mask;
  return emulator::shuffle_value(mask, value, source >= (lane / width + 1) * width ? lane : source, where);
}

// Votes.

inline uint32_t __ballot_sync(uint32_t mask, int predicate, emulator::Where where = emulator::Where::current()) {
  return emulator::ballot(mask, predicate != 0, where);
}
inline int __any_sync(uint32_t mask, int predicate, emulator::Where where = emulator::Where::current()) {
  return emulator::ballot(mask, predicate != 0, where) != 0;
}
inline int __all_sync(uint32_t mask, int predicate, emulator::Where where = emulator::Where::current()) {
  return emulator::ballot(mask, predicate == 0, where) == 0;
}

// Atomics.

inline unsigned atomicAdd(unsigned* to, unsigned value) { return emulator::atomic_add(to, value); }
inline int atomicAdd(int* to, int value) {
  return static_cast<int>(emulator::atomic_add(reinterpret_cast<uint32_t*>(to), static_cast<uint32_t>(value)));
}
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) {
  return emulator::atomic_add(reinterpret_cast<uint64_t*>(to), uint64_t{value});
}
inline float atomicAdd(float* to, float value) { return emulator::atomic_add(to, value); }
inline unsigned atomicExch(unsigned* to, unsigned value) { return emulator::atomic_exchange(to, value); }
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned desired) {
  return emulator::atomic_compare_and_swap(at, expected, desired);
}
inline int atomicMax(int* to, int value) { return emulator::atomic_maximum(to, value); }
inline int atomicMin(int* to, int value) { return emulator::atomic_minimum(to, value); }

// Mathematical functions. Those CUDA computes approximately are exact here.

inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); }
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline float __uint_as_float(uint32_t x) { return __builtin_bit_cast(float, x); }
inline uint32_t __float_as_uint(float x) { return __builtin_bit_cast(uint32_t, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
template <typename T>
T __ldg(const T* from) {
  return *from;
}
template <typename T>
T __ldcs(const T* from) {
  return *from;
}
template <typename T>
void __stcs(T* to, T value) {
  *to = value;
}

template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
