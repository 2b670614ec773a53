#include <chrono>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"
#include "tests/emulator/kernels.h"

namespace stipple::emulator_tests {
namespace {

constexpr int kLength = 64;

struct Line {
  alignas(16) float of[kLength];
};

template <Planted kError>
__global__ void reverse(float* y, const float* x) {
  const int i = static_cast<int>(threadIdx.x);
  float* line = cuda::static_shared<Line>().of;
  if constexpr (kError == Planted::missing_wait) {
    ptx::cp_async<4>(line + i, x + i);
    ptx::cp_async_commit();
  } else if constexpr (kError == Planted::beyond_device_memory) {
    line[i] = x[i + 1];
  } else if constexpr (kError == Planted::misaligned) {
    line[i] = cuda::load_vector<float4>(x + 1).x;
  } else if constexpr (kError == Planted::beyond_shared_memory) {
    line[i + 1] = x[i];
  } else if constexpr (kError == Planted::unwritten_shared_memory) {
    if (i > 0) line[i] = x[i];
  } else {
    line[i] = x[i];
  }
  if constexpr (kError == Planted::barrier_in_a_branch) {
    if (i < kLength / 2) __syncthreads();
  } else if constexpr (kError == Planted::two_barriers) {
    if (i < kLength / 2)
      __syncthreads();
    else
      __syncthreads();
  } else if constexpr (kError != Planted::missing_barrier) {
    __syncthreads();
  }
  y[i] = line[kLength - 1 - i];
}

__global__ void reverse_in_warps(float* y, const float* x) {
  const unsigned i = threadIdx.x;
  float* line = cuda::static_shared<Line>().of;
  line[i] = x[i];
  y[i] = line[i ^ 1];
}

__global__ void shuffle_half(float* y, const float* x) {
  const unsigned i = threadIdx.x;
  y[i] = i % 32 < 16 ? __shfl_sync(0xFFFF, x[i], 20) : 0;
}

using Kernel = void (*)(float*, const float*);

Kernel kernel_with(Planted error) {
  switch (error) {
    case Planted::missing_barrier:
      return reverse<Planted::missing_barrier>;
    case Planted::barrier_in_a_branch:
      return reverse<Planted::barrier_in_a_branch>;
    case Planted::two_barriers:
      return reverse<Planted::two_barriers>;
    case Planted::beyond_device_memory:
      return reverse<Planted::beyond_device_memory>;
    case Planted::beyond_shared_memory:
      return reverse<Planted::beyond_shared_memory>;
    case Planted::unwritten_shared_memory:
      return reverse<Planted::unwritten_shared_memory>;
    case Planted::misaligned:
      return reverse<Planted::misaligned>;
    case Planted::missing_warp_barrier:
      return reverse_in_warps;
    case Planted::shuffle_from_outside:
      return shuffle_half;
    case Planted::missing_wait:
      return reverse<Planted::missing_wait>;
    default:
      return reverse<Planted::nothing>;
  }
}

// Small whole numbers, positive and negative.
std::vector<float> whole_numbers(int n, int seed) {
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) values[i] = static_cast<float>((i * 7 + i / 3 + seed) % 11 - 5);
  return values;
}

__device__ uint32_t pair(const __nv_bfloat16* from, int step) {
  return __float_as_uint(static_cast<float>(from[0])) >> 16 |
         (__float_as_uint(static_cast<float>(from[step])) & 0xFFFF0000);
}

// a [16, 16] and b [16, 8], of which the k = 8 kinds use the left and the upper half.
template <Instruction kInstruction>
__global__ void product(float* c, const float* a, const float* b) {
  struct Operands {
    alignas(16) __nv_bfloat16 a[16][16], b[16][8], b_by_columns[8][16];
  };
  auto& s = cuda::static_shared<Operands>();
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, q = lane % 4;
  for (int i = lane; i < 256; i += 32) s.a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) s.b[i / 8][i % 8] = s.b_by_columns[i % 8][i / 8] = b[i];
  __syncthreads();
  float d[4] = {};
  uint32_t ra[4], rb[2];
  if constexpr (kInstruction == Instruction::m16n8k8_tf32) {
    for (int r = 0; r < 4; ++r) ra[r] = ptx::to_tf32(a[(g + 8 * (r & 1)) * 16 + q + 4 * (r >> 1)]);
    for (int r = 0; r < 2; ++r) rb[r] = ptx::to_tf32(b[(q + 4 * r) * 8 + g]);
    ptx::mma_m16n8k8_tf32(d, ra, rb);
  } else if constexpr (kInstruction == Instruction::m16n8k8_bf16) {
    uint32_t half[2] = {pair(&s.a[g][2 * q], 1), pair(&s.a[g + 8][2 * q], 1)};
    ptx::mma_m16n8k8_bf16(d, half, pair(&s.b[2 * q][g], 8));
  } else if constexpr (kInstruction == Instruction::m16n8k16_bf16) {
    for (int r = 0; r < 4; ++r) ra[r] = pair(&s.a[g + 8 * (r & 1)][2 * q + 8 * (r >> 1)], 1);
    for (int r = 0; r < 2; ++r) rb[r] = pair(&s.b[2 * q + 8 * r][g], 8);
    ptx::mma_m16n8k16_bf16(d, ra, rb);
  } else {
    ptx::ldmatrix_x4(ra, &s.a[lane % 16][8 * (lane / 16)]);
    if constexpr (kInstruction == Instruction::ldmatrix_bf16)
      ptx::ldmatrix_x2(rb, &s.b_by_columns[lane % 8][lane / 8 % 2 * 8]);
    else
      ptx::ldmatrix_x2_trans(rb, s.b[lane % 16]);
    ptx::mma_m16n8k16_bf16(d, ra, rb);
  }
  for (int r = 0; r < 4; ++r) c[(g + 8 * (r >> 1)) * 8 + 2 * q + (r & 1)] = d[r];
}

auto product_kernel(Instruction instruction) {
  switch (instruction) {
    case Instruction::m16n8k16_bf16:
      return product<Instruction::m16n8k16_bf16>;
    case Instruction::m16n8k8_bf16:
      return product<Instruction::m16n8k8_bf16>;
    case Instruction::m16n8k8_tf32:
      return product<Instruction::m16n8k8_tf32>;
    case Instruction::ldmatrix_bf16:
      return product<Instruction::ldmatrix_bf16>;
    default:
      return product<Instruction::ldmatrix_trans_bf16>;
  }
}

// sum + one and the same product everywhere, of which the first lane's stands for all.
__global__ void tensor_core_sum_kernel(float* sum, float product) {
  const uint32_t first = threadIdx.x % 4 == 0,
                 a[4] = {first * __float_as_uint(product), first * __float_as_uint(product), 0, 0};
  const uint32_t b[2] = {first * __float_as_uint(1.f), 0};
  float d[4] = {*sum, *sum, *sum, *sum};
  ptx::mma_m16n8k8_tf32(d, a, b);
  if (threadIdx.x == 0) *sum = d[0];
}

// Five results a lane.
__global__ void warp_operations_kernel(int* to) {
  const int lane = static_cast<int>(threadIdx.x);
  to[lane] = static_cast<int>(__ballot_sync(0xFFFFFFFF, lane % 3 == 0));
  to[32 + lane] = __shfl_up_sync(0xFFFFFFFF, lane, 3);
  to[64 + lane] = __shfl_down_sync(0xFFFFFFFF, lane, 5, 8);
  to[96 + lane] = __shfl_xor_sync(0xFFFFFFFF, lane, 7);
  to[128 + lane] = lane < 8 ? __shfl_sync(0xFF, lane * 10, 3) : -1;
}

__global__ void count(unsigned* to) { atomicAdd(to, 1u); }

__global__ void barriers(int n) {
  for (int i = 0; i < n; ++i) __syncthreads();
}

}  // namespace

std::vector<float> reversed(const std::vector<float>& input, Planted error) {
  const Tensor x = Tensor::of<float>({kLength}, input).to(Device::cuda), y({kLength}, Dtype::f32, Device::cuda);
  const float* from = error == Planted::host_pointer ? input.data() : cuda::data<float>(x);
  cuda::launch(kernel_with(error), dim3(1), dim3(error == Planted::endless_block ? 2048 : kLength), 0,
               cuda::mutable_data<float>(y), from);
  return y.to_vector<float>();
}

Product tensor_core_product(Instruction instruction) {
  Product p{whole_numbers(256, 1), whole_numbers(128, 4), {}};
  const Tensor a = Tensor::of<float>({16, 16}, p.a).to(Device::cuda),
               b = Tensor::of<float>({16, 8}, p.b).to(Device::cuda);
  const Tensor c({16, 8}, Dtype::f32, Device::cuda);
  cuda::launch(product_kernel(instruction), dim3(1), dim3(32), 0, cuda::mutable_data<float>(c), cuda::data<float>(a),
               cuda::data<float>(b));
  p.c = c.to_vector<float>();
  return p;
}

float tensor_core_sum(float sum, float product) {
  const Tensor to = Tensor::full({1}, sum).to(Device::cuda);
  cuda::launch(tensor_core_sum_kernel, dim3(1), dim3(32), 0, cuda::mutable_data<float>(to), product);
  return to.item<float>();
}

std::vector<uint32_t> warp_operations() {
  const Tensor to({160}, Dtype::i32, Device::cuda);
  cuda::launch(warp_operations_kernel, dim3(1), dim3(32), 0, cuda::mutable_data<int32_t>(to));
  const std::vector<int32_t> values = to.to_vector<int32_t>();
  return {values.begin(), values.end()};
}

uint32_t count_by_atomics(int blocks, int threads) {
  const Tensor to = Tensor::zeros({1}, Dtype::i32, Device::cuda);
  cuda::launch(count, dim3(blocks), dim3(threads), 0, reinterpret_cast<unsigned*>(cuda::mutable_data<int32_t>(to)));
  return static_cast<uint32_t>(to.item<int32_t>());
}

double seconds_of_barriers(int threads, int n) {
  const auto begin = std::chrono::steady_clock::now();
  cuda::launch(barriers, dim3(1), dim3(threads), 0, n);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace stipple::emulator_tests
