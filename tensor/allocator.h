#pragma once
#include <cstddef>
#include <mutex>
#include <unordered_set>

#include "tensor/heap.h"

// Memory for tensors. Freed blocks are kept and handed out again: fresh pages from the system cost as much as the
// arithmetic done in them. They serve requests of other sizes, too (heap.h); lists of equal blocks would hold, for
// every size, as much as was ever needed of it at once, which while a 256-pixel picture is drawn is 583 MiB idle
// beside 280 in use.

namespace stipple {

struct MemoryStats {
  size_t live = 0;    // bytes in use by tensors (rounded up to whole blocks)
  size_t peak = 0;    // the most there ever were, since reset_peak()
  size_t cached = 0;  // bytes freed and kept
};

// Where an allocator's blocks come from.
struct MemorySource {
  void* (*allocate)(size_t bytes);  // null where there is no more
  void (*release)(void* block);
  void (*poison)(void* block, size_t bytes);  // fills it with 0xFF
  size_t alignment = 256;                     // of tensors; those of a GPU
  size_t segment = 0;  // the least that is asked for at once, where memory that nobody touches costs nothing
  void (*settle)(void* begin, size_t bytes) = nullptr;  // makes memory faster that is used again and again
};

class CachingAllocator {
 public:
  CachingAllocator();  // of the host's memory
  explicit CachingAllocator(const MemorySource& source) : source_(source) {}
  // 64-byte aligned (256 on a GPU); throws Error when the cap or the machine's memory is exceeded.
  void* allocate(size_t bytes);
  void deallocate(void* block, size_t bytes) noexcept;

  void set_cap(size_t bytes);  // most bytes live at once; 0 = no cap
  void set_caching(bool on);   // off: every block goes straight back, so that sanitizers see overruns
  void set_poison(bool on);    // on: fresh blocks are filled with 0xFF (NaN), so that tests see what was never written
  void release_cached();       // whole segments that hold nothing
  void reset_peak();
  MemoryStats stats() const;

  ~CachingAllocator() { release_cached(); }

 private:
  size_t block_size(size_t bytes) const;
  void* take(size_t size);
  void* take_exact(size_t bytes);
  bool add_segment(size_t size);
  void settle();
  void release_empty_segments();

  MemorySource source_;
  mutable std::mutex mutex_;
  Heap heap_;
  std::unordered_set<void*> exact_;  // blocks made while caching was off: no larger than asked for
  MemoryStats stats_;                // but for what is cached
  size_t cap_ = 0;
  size_t handed_out_ = 0;  // bytes, in all
  bool settled_ = false;
  bool caching_ = true, poison_ = false;
};

bool caching_is_wanted();  // not where the environment says STIPPLE_ALLOCATOR=system
CachingAllocator& cpu_allocator();

}  // namespace stipple
