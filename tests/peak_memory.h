#pragma once
#include <functional>

#include "tensor/allocator.h"

namespace stipple {

// The most bytes that tensors on the CPU take while f runs, beyond what they took before.
inline size_t peak_memory(const std::function<void()>& f) {
  cpu_allocator().reset_peak();
  const size_t before = cpu_allocator().stats().live;
  f();
  return cpu_allocator().stats().peak - before;
}

}  // namespace stipple
