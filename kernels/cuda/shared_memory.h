#pragma once
#include <cuda_runtime.h>

// A block's shared memory. Kernels take it through these two functions rather than by __shared__, so that the emulator
// can fill it with NaN before each block and watch who touches it.

namespace stipple::cuda {

// What was asked for at the launch, aligned to 1024 bytes.
template <typename T>
__device__ inline T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(1024) unsigned char stipple_dynamic_shared[];
  return reinterpret_cast<T*>(stipple_dynamic_shared);
#else
  return reinterpret_cast<T*>(emulator::dynamic_shared_memory());
#endif
}

// A variable of the block, e.g. a struct with all a kernel shares; a kernel has one of each type. At most 48 KiB
// together.
template <typename T>
__device__ inline T& static_shared() {
#ifdef __CUDACC__
  __shared__ T variable;
  return variable;
#else
  static const char key = 0;
  return *reinterpret_cast<T*>(emulator::static_shared_memory(&key, sizeof(T), alignof(T)));
#endif
}

}  // namespace stipple::cuda
