#pragma once
#include <cuda_runtime.h>

// Loads and stores of a whole vector type (float4, uint4, float2, ...) at once: 16 bytes a thread is what memory is
// fastest at. Under nvcc these are plain accesses; the emulator is told that it is one access, which g++ would split.
// Addresses are multiples of the type's size.

namespace stipple::cuda {

template <typename Vector>
__device__ inline Vector load_vector(const void* from) {
#ifdef __CUDACC__
  return *static_cast<const Vector*>(from);
#else
  Vector value;
  emulator::load(&value, from, sizeof value);
  return value;
#endif
}

template <typename Vector>
__device__ inline void store_vector(void* to, const Vector& value) {
#ifdef __CUDACC__
  *static_cast<Vector*>(to) = value;
#else
  emulator::store(to, &value, sizeof value);
#endif
}

}  // namespace stipple::cuda
