#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <type_traits>

#include "kernels/cuda/runtime.h"
#include "tensor/tensor.h"

// Starting kernels. `launch(kernel, blocks, threads, shared_bytes, arguments...)` is kernel<<<...>>>(arguments...) on
// the compute stream, checked; g++ reads these sources, too, and cannot parse the brackets.

namespace stipple::cuda {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes, Arguments&&... arguments) {
#ifdef __CUDACC__
  constexpr size_t kWithoutAsking = 48 << 10;  // more has to be asked for, once a kernel
  if (shared_bytes > kWithoutAsking)
    check_call(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "launch: shared memory");
  kernel<<<blocks, threads, shared_bytes, stream()>>>(static_cast<Parameters>(arguments)...);
  check_call(cudaGetLastError(), "launch");
#else
  check_call(emulator::launch(kernel, blocks, threads, shared_bytes, stream(), static_cast<Parameters>(arguments)...),
             "launch");
#endif
}

inline constexpr int kThreads = 256;  // a block, where nothing asks for another number

// So many blocks of kThreads threads that each of n elements has its own, for kernels that take one element a thread.
inline dim3 blocks_for(int64_t n, int64_t a_block = kThreads) {
  return dim3(static_cast<unsigned>((n + a_block - 1) / a_block));
}

// This thread's number in a one-dimensional grid.
__device__ inline int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// The element types of floating-point tensors as kernels know them.
template <typename T>
inline constexpr Dtype stored_as = dtype_of<T>;
template <>
inline constexpr Dtype stored_as<__nv_bfloat16> = Dtype::bf16;

template <typename T>
void check_elements(const Tensor& x) {
  check(!x || (x.dtype() == stored_as<T> && x.device() == Device::cuda),
        "a {} tensor on {} was given as {} to a kernel", describe(x), name_of(x.device()), name_of(stored_as<T>));
}

// The elements, for kernels to read and to write; null where x is undefined.
template <typename T>
const T* data(const Tensor& x) {
  check_elements<T>(x);
  return reinterpret_cast<const T*>(x.bytes());
}
template <typename T>
T* mutable_data(const Tensor& x) {
  check_elements<T>(x);
  return reinterpret_cast<T*>(x.mutable_bytes());
}

// Calls f with a value of the element type, float or __nv_bfloat16: what kernels compute with (always in f32).
template <typename F>
void for_floating(const char* operation, Dtype dtype, F&& f) {
  if (dtype == Dtype::f32) return f(float{});
  if (dtype == Dtype::bf16) return f(__nv_bfloat16{});
  fail("{}: computes in f32 and bf16 on cuda, got {}", operation, name_of(dtype));
}

}  // namespace stipple::cuda
