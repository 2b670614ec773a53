#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"
#include "tests/emulator/counted_kernels.h"

namespace stipple::emulator_tests {
namespace {

constexpr int kTile = 32, kRows = 8;

__global__ void transpose_naive(float* y, const float* x, int n) {
  const unsigned column = blockIdx.x * kTile + threadIdx.x, row = blockIdx.y * kRows + threadIdx.y;
  y[column * n + row] = x[row * n + column];
}

template <int kPad>
__global__ void transpose_tiled(float* y, const float* x, int n) {
  constexpr int kPitch = kTile + kPad;
  float* tile = cuda::dynamic_shared<float>();
  const unsigned tx = threadIdx.x, ty = threadIdx.y;
  const unsigned from = blockIdx.y * kTile * n + blockIdx.x * kTile, to = blockIdx.x * kTile * n + blockIdx.y * kTile;
  for (unsigned j = ty; j < kTile; j += kRows) tile[j * kPitch + tx] = x[from + j * n + tx];
  __syncthreads();
  for (unsigned j = ty; j < kTile; j += kRows) y[to + j * n + tx] = tile[tx * kPitch + j];
}

__global__ void strided_copy_kernel(float* y, const float* x, int stride) { y[threadIdx.x] = x[threadIdx.x * stride]; }

__global__ void copy_float4_kernel(float* y, const float* x) {
  const int64_t i = cuda::global_thread() * 4;
  cuda::store_vector(y + i, cuda::load_vector<float4>(x + i));
}

constexpr int kWords = 1024;

__device__ float* filled_words() {
  float* words = cuda::dynamic_shared<float>();
  for (int i = threadIdx.x; i < kWords; i += 32) words[i] = i;
  __syncthreads();
  return words;
}

__global__ void read_shared_kernel(float* y, int stride) {
  const float* words = filled_words();
  y[threadIdx.x] = words[threadIdx.x * stride % kWords];
}

__global__ void read_shared_float4_kernel(float* y) {
  const float* words = filled_words();
  y[threadIdx.x] = cuda::load_vector<float4>(words + threadIdx.x * 4).w;
}

template <bool kSwizzled>
__global__ void load_matrices_kernel(uint32_t* y) {
  auto* bytes = reinterpret_cast<std::byte*>(filled_words());
  const unsigned row = threadIdx.x % 16, chunk = threadIdx.x / 16;
  uint32_t fragments[4];
  ptx::ldmatrix_x4(fragments, bytes + row * 64 + (kSwizzled ? (chunk ^ (row / 2)) % 4 : chunk) * 16);
  y[threadIdx.x] = fragments[0] + fragments[3];
}

__global__ void copy_asynchronously_kernel(float* y, const float* x, int valid) {
  float* words = cuda::dynamic_shared<float>();
  ptx::cp_async<16>(words + threadIdx.x * 4, x + threadIdx.x * 4, valid);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = words[threadIdx.x];
}

__global__ void multiply_kernel(float* y, int times) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  for (int i = 0; i < times; ++i) {
    ptx::mma_m16n8k16_bf16(d, a, b);
    ptx::mma_m16n8k8_tf32(d, a, b);
  }
  y[threadIdx.x] = d[0];
}

__global__ void skip_some_kernel(float* y, const float* x) {
  for (int i = 0; i < 4; ++i) {
    float value = 1;
    if (threadIdx.x % 2 == 1 || i % 2 == 1) value = x[i * 32 + threadIdx.x];
    y[i * 32 + threadIdx.x] = value;
  }
}

struct Arrays {
  Tensor x, y;
  explicit Arrays(int64_t n)
      : x(Tensor::zeros({n}, Dtype::f32, Device::cuda)), y(Tensor::zeros({n}, Dtype::f32, Device::cuda)) {}
  const float* from() const { return cuda::data<float>(x); }
  float* to() const { return cuda::mutable_data<float>(y); }
};

}  // namespace

void transpose(Transpose how, int n) {
  const Arrays a(int64_t{n} * n);
  const unsigned tiles = n / kTile;
  const dim3 threads(kTile, kRows);
  if (how == Transpose::naive)
    cuda::launch(transpose_naive, dim3(tiles, n / kRows), threads, 0, a.to(), a.from(), n);
  else
    cuda::launch(how == Transpose::tiled ? transpose_tiled<0> : transpose_tiled<1>, dim3(tiles, tiles), threads,
                 kTile * (kTile + 1) * sizeof(float), a.to(), a.from(), n);
}

void strided_copy(int stride, int threads) {
  const Arrays a(int64_t{threads} * stride);
  cuda::launch(strided_copy_kernel, dim3(1), dim3(threads), 0, a.to(), a.from(), stride);
}

void copy_float4(int blocks) {
  const Arrays a(int64_t{blocks} * 128);
  cuda::launch(copy_float4_kernel, dim3(blocks), dim3(32), 0, a.to(), a.from());
}

void read_shared(int stride) {
  cuda::launch(read_shared_kernel, dim3(1), dim3(32), kWords * sizeof(float), Arrays(32).to(), stride);
}

void read_shared_float4() {
  cuda::launch(read_shared_float4_kernel, dim3(1), dim3(32), kWords * sizeof(float), Arrays(32).to());
}

void load_matrices(bool swizzled) {
  cuda::launch(swizzled ? load_matrices_kernel<true> : load_matrices_kernel<false>, dim3(1), dim3(32),
               kWords * sizeof(float), reinterpret_cast<uint32_t*>(Arrays(32).to()));
}

void copy_asynchronously(int valid) {
  const Arrays a(128);
  cuda::launch(copy_asynchronously_kernel, dim3(1), dim3(32), 128 * sizeof(float), a.to(), a.from(), valid);
}

void multiply_on_tensor_cores(int times) {
  cuda::launch(multiply_kernel, dim3(1), dim3(32), 0, Arrays(32).to(), times);
}

void skip_some() {
  const Arrays a(128);
  cuda::launch(skip_some_kernel, dim3(1), dim3(32), 0, a.to(), a.from());
}

}  // namespace stipple::emulator_tests
