#pragma once
#include <cstddef>
#include <string>

// The memories the emulated device knows. Device allocations lie apart, so that an index that runs over an allocation's
// end falls into none; pinned host memory can be reached by the device, any other host memory cannot.

namespace emulator {

void* allocate_device(size_t bytes);  // null where there is none left
void free_device(void*);
void* allocate_pinned(size_t bytes);
void free_pinned(void*);

enum class MemoryKind { device, pinned, unknown };
struct MemoryRange {
  MemoryKind kind = MemoryKind::unknown;
  const std::byte* begin = nullptr;
  size_t bytes = 0;
  bool holds(const void* address, size_t n) const {
    const auto* a = static_cast<const std::byte*>(address);
    return a >= begin && a + n <= begin + bytes;
  }
};
MemoryRange find_memory(const void* address);       // the allocation that holds the address
std::string describe_nearest(const void* address);  // "4 bytes after the end of 1024 bytes of device memory"

}  // namespace emulator
