#include "kernels/emulator/memory.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <shared_mutex>

namespace emulator {
namespace {

constexpr size_t kAlignment = 256, kRedZone = 256;
constexpr ptrdiff_t kNear = 4096;  // beyond the red zone it may be the host's as well

struct Allocation {
  size_t bytes;
  MemoryKind kind;
};

struct Allocations {
  std::map<const std::byte*, Allocation> at;
  std::shared_mutex mutex;
};

Allocations& allocations() {
  static auto& all = *new Allocations;  // tensors of static lifetime may outlive any order of destruction
  return all;
}

void* allocate(size_t bytes, MemoryKind kind) {
  const size_t whole = (bytes + kAlignment - 1) / kAlignment * kAlignment + 2 * kRedZone;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, whole));
  if (!memory) return nullptr;
  const std::lock_guard lock(allocations().mutex);
  allocations().at[memory + kRedZone] = {bytes, kind};
  return memory + kRedZone;
}

void release(void* memory) {
  if (!memory) return;
  auto* begin = static_cast<std::byte*>(memory);
  {
    const std::lock_guard lock(allocations().mutex);
    allocations().at.erase(begin);
  }
  std::free(begin - kRedZone);
}

}  // namespace

void* allocate_device(size_t bytes) { return allocate(bytes, MemoryKind::device); }
void free_device(void* memory) { release(memory); }
void* allocate_pinned(size_t bytes) { return allocate(bytes, MemoryKind::pinned); }
void free_pinned(void* memory) { release(memory); }

MemoryRange find_memory(const void* address) {
  const auto* a = static_cast<const std::byte*>(address);
  const std::shared_lock lock(allocations().mutex);
  auto after = allocations().at.upper_bound(a);
  if (after == allocations().at.begin()) return {};
  const auto& [begin, allocation] = *--after;
  if (a >= begin + allocation.bytes) return {};
  return {allocation.kind, begin, allocation.bytes};
}

std::string describe_nearest(const void* address) {
  const auto* a = static_cast<const std::byte*>(address);
  const std::shared_lock lock(allocations().mutex);
  const auto after = allocations().at.upper_bound(a);
  const auto say = [](ptrdiff_t distance, const char* where, const Allocation& x) {
    const char* or_else = distance > ptrdiff_t{kRedZone} ? ", or a pointer of the host" : "";
    return std::to_string(distance) + where + std::to_string(x.bytes) + " bytes of device memory" + or_else;
  };
  if (after != allocations().at.begin()) {
    const auto& [begin, allocation] = *std::prev(after);
    const auto over = a - (begin + allocation.bytes);
    if (over < kNear) return say(over, " bytes after the end of ", allocation);
  }
  if (after != allocations().at.end() && after->first - a < kNear)
    return say(after->first - a, " bytes before the beginning of ", after->second);
  return "no device memory is near: a pointer of the host, memory that was freed, or far out of bounds";
}

}  // namespace emulator
