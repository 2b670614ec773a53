#include "tensor/device.h"

#include <cstring>

#include "tensor/allocator.h"

namespace stipple {

const char* name_of(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

bool is_available(Device device) { return device == Device::cpu || cuda::is_built(); }

CachingAllocator& allocator_of(Device device) { return device == Device::cpu ? cpu_allocator() : cuda::allocator(); }

void copy_bytes(std::byte* to, Device to_device, const std::byte* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::cpu && from_device == Device::cpu)
    std::memmove(to, from, bytes);
  else
    cuda::copy(to, to_device, from, from_device, bytes);
}

}  // namespace stipple
