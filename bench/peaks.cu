#include "bench/peaks.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/vector_access.h"

namespace stipple::bench {
namespace {

using namespace cuda;

constexpr int kTiles = 8;  // under way at once: enough to hide an instruction's latency with 16 warps a multiprocessor

// Operands other than zero, whose arithmetic would be cheaper; small, so that sums stay finite.
template <bool kBf16>
__device__ uint32_t operand(int i) {
  const float x = 1e-3f * static_cast<float>(static_cast<int>(threadIdx.x * 7 + i * 13) % 64 - 31);
  if constexpr (!kBf16) return ptx::to_tf32(x);
  const uint32_t half = __float_as_uint(x) >> 16;  // bf16 is the upper half of f32
  return half << 16 | half;
}

template <bool kBf16>
__global__ void __launch_bounds__(kPeakThreads) multiply_kernel(float* __restrict__ sums, int64_t rounds) {
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = operand<kBf16>(i);
  for (int i = 0; i < 2; ++i) b[i] = operand<kBf16>(4 + i);
  float d[kTiles][4] = {};
  for (int64_t round = 0; round < rounds; ++round)
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      if constexpr (kBf16)
        ptx::mma_m16n8k16_bf16(d[tile], a, b);
      else
        ptx::mma_m16n8k8_tf32(d[tile], a, b);
    }
  float sum = 0;
  for (int tile = 0; tile < kTiles; ++tile)
    for (int i = 0; i < 4; ++i) sum += d[tile][i];
  sums[global_thread()] = sum;
}

constexpr int kCopies = 4;  // of 16 bytes a thread, all loaded before the first is stored

__global__ void copy_kernel(float4* __restrict__ to, const float4* __restrict__ from, int64_t count) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kCopies * kThreads + threadIdx.x;
  float4 held[kCopies];
#pragma unroll
  for (int i = 0; i < kCopies; ++i)
    if (first + i * kThreads < count) held[i] = load_vector<float4>(from + first + i * kThreads);
#pragma unroll
  for (int i = 0; i < kCopies; ++i)
    if (first + i * kThreads < count) store_vector(to + first + i * kThreads, held[i]);
}

}  // namespace

void multiply_from_registers(const Tensor& sums, int64_t blocks, int64_t rounds, bool bf16) {
  launch(bf16 ? multiply_kernel<true> : multiply_kernel<false>, dim3(static_cast<unsigned>(blocks)), kPeakThreads, 0,
         mutable_data<float>(sums), rounds);
}

double multiplied_flop(int64_t blocks, int64_t rounds, bool bf16) {
  const int64_t warps = blocks * kPeakThreads / 32, a_tile = 2 * 16 * 8 * (bf16 ? 16 : 8);
  return static_cast<double>(warps * rounds * kTiles * a_tile);
}

void copy_elements(const Tensor& to, const Tensor& from) {
  const int64_t count = from.numel() / 4;
  launch(copy_kernel, blocks_for(count, kCopies * kThreads), kThreads, 0,
         reinterpret_cast<float4*>(mutable_data<float>(to)), reinterpret_cast<const float4*>(data<float>(from)), count);
}

}  // namespace stipple::bench
