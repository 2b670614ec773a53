#pragma once
#include <cstddef>

// Where tensors live: in the memory of the host, or in that of the GPU.

namespace stipple {

class CachingAllocator;
class Tensor;

enum class Device { cpu, cuda };
const char* name_of(Device);
bool is_available(Device);  // whether this build has it; "cuda" may be the emulated one
CachingAllocator& allocator_of(Device);

// Copies bytes between or within devices, after everything the GPU was told to do before. Returns when both sides may
// be used again.
void copy_bytes(std::byte* to, Device to_device, const std::byte* from, Device from_device, size_t bytes);

// What tensors need of the GPU, given by kernels/cuda/; a build without CUDA has tensor/device_without_cuda.cpp, where
// everything fails with one clear line.
namespace cuda {
bool is_built();
CachingAllocator& allocator();
void copy(std::byte* to, Device to_device, const std::byte* from, Device from_device, size_t bytes);
void fill(const Tensor& to, double value);
void convert(const Tensor& to, const Tensor& from);  // same shape, another dtype
}  // namespace cuda

}  // namespace stipple
