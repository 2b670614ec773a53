#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

// Memory for tensors. Freed blocks are kept by size and handed out again: a training step asks for the same sizes every
// time, and fresh pages from the system cost as much as the arithmetic done in them.

namespace stipple {

struct MemoryStats {
  size_t live = 0;    // bytes in use by tensors (rounded up to block sizes)
  size_t peak = 0;    // the most there ever were, since reset_peak()
  size_t cached = 0;  // bytes freed and kept
};

// Where an allocator's blocks come from.
struct MemorySource {
  void* (*allocate)(size_t bytes);  // null where there is no more
  void (*release)(void* block);
  void (*poison)(void* block, size_t bytes);  // fills it with 0xFF
};

class CachingAllocator {
 public:
  CachingAllocator();  // of the host's memory
  explicit CachingAllocator(const MemorySource& source) : source_(source) {}
  void* allocate(
      size_t bytes);  // 64-byte aligned (256 on a GPU); throws Error when the cap or the machine's memory is exceeded
  void deallocate(void* block, size_t bytes) noexcept;

  void set_cap(size_t bytes);  // most bytes live + cached at once; 0 = no cap
  void set_caching(bool on);   // off: every block goes straight back, so that sanitizers see overruns
  void set_poison(bool on);    // on: fresh blocks are filled with 0xFF (NaN), so that tests see what was never written
  void release_cached();
  void reset_peak();
  MemoryStats stats() const;

  ~CachingAllocator() { release_cached(); }

 private:
  void* take_cached(size_t size);
  void* take_fresh(size_t size, size_t bytes);
  void release_cached_locked();

  MemorySource source_;
  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;  // by block size
  std::unordered_set<void*> exact_;                      // blocks made while caching was off: no larger than asked for
  MemoryStats stats_;
  size_t cap_ = 0;
  bool caching_ = true, poison_ = false;
};

bool caching_is_wanted();  // not where the environment says STIPPLE_ALLOCATOR=system
CachingAllocator& cpu_allocator();

}  // namespace stipple
