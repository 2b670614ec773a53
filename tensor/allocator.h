#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

// Memory for tensors. Freed blocks are kept by size and handed out again: a training step asks for the same sizes every
// time, and fresh pages from the system cost as much as the arithmetic done in them.

namespace stipple {

struct MemoryStats {
  size_t live = 0;    // bytes in use by tensors (rounded up to block sizes)
  size_t peak = 0;    // the most there ever were, since reset_peak()
  size_t cached = 0;  // bytes freed and kept
};

class CachingAllocator {
 public:
  void* allocate(size_t bytes);  // 64-byte aligned; throws Error when the cap or the machine's memory is exceeded
  void deallocate(void* block, size_t bytes) noexcept;

  void set_cap(size_t bytes);     // most bytes live + cached at once; 0 = no cap
  void set_caching(bool on);      // off: every block goes straight back, so that sanitizers see overruns
  void set_poison(bool on);       // on: fresh blocks are filled with 0xFF (NaN), so that tests see what was never written
  void release_cached();
  void reset_peak();
  MemoryStats stats() const;

  ~CachingAllocator() { release_cached(); }

 private:
  void release_cached_locked();

  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;  // by block size
  MemoryStats stats_;
  size_t cap_ = 0;
  bool caching_ = true, poison_ = false;
};

// STIPPLE_ALLOCATOR=system in the environment turns caching off.
CachingAllocator& cpu_allocator();

}  // namespace stipple
