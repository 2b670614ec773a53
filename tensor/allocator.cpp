#include "tensor/allocator.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tensor/error.h"

namespace stipple {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kOften = size_t{16} << 30;     // bytes handed out: some twenty training steps of the demo
constexpr size_t kSegment = size_t{256} << 20;  // of addresses: the system gives pages when they are touched

void* system_allocate(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

// Huge pages. They make a training step 5 % faster, but a virtual machine that must get them from its host takes 1.1 s
// for 400 MiB of them, .2 s for small pages: whoever draws one picture is better off without. A block of more than a
// segment is an arena of weights, which a step reads once, from end to end, and has nothing of them.
void system_settle(void* begin, size_t bytes) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE: at once; before Linux 6.1 the kernel does it by and by
  if (bytes > kSegment) return;
  madvise(begin, bytes, MADV_HUGEPAGE);
  madvise(begin, bytes, kCollapse);
}

void system_poison(void* block, size_t bytes) { std::memset(block, 0xFF, bytes); }

}  // namespace

bool caching_is_wanted() {
  const char* variable = std::getenv("STIPPLE_ALLOCATOR");
  const std::string_view choice = variable ? variable : "";
  check(choice.empty() || choice == "caching" || choice == "system",
        "STIPPLE_ALLOCATOR is '{}'; there are caching, system", choice);
  return choice != "system";
}

CachingAllocator::CachingAllocator()
    : CachingAllocator({system_allocate, std::free, system_poison, kAlignment, kSegment, system_settle}) {}

size_t CachingAllocator::block_size(size_t bytes) const {
  return (std::max<size_t>(bytes, 1) + source_.alignment - 1) / source_.alignment * source_.alignment;
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  check(!cap_ || stats_.live + size <= cap_, "out of memory: {} bytes wanted, {} in use, the cap is {} bytes", size,
        stats_.live, cap_);
  void* block = caching_ ? take(size) : take_exact(bytes);
  check(block, "out of memory: the system has no {} bytes left ({} in use by tensors)", size, stats_.live);
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  if (poison_) source_.poison(block, caching_ ? size : bytes);
  return block;
}

void* CachingAllocator::take(size_t size) {
  handed_out_ += size;
  if (source_.settle && !settled_ && handed_out_ > kOften) settle();
  if (void* block = heap_.take(size)) return block;
  if (!add_segment(std::max(size, source_.segment)) && !add_segment(size)) {
    release_empty_segments();
    add_segment(size);
  }
  return heap_.take(size);
}

void CachingAllocator::settle() {
  settled_ = true;
  heap_.for_touched(source_.settle);
}

bool CachingAllocator::add_segment(size_t size) {
  void* segment = source_.allocate(size);
  if (segment) heap_.add_segment(segment, size);
  if (segment && settled_) source_.settle(segment, size);
  return segment;
}

void* CachingAllocator::take_exact(size_t bytes) {
  void* block = source_.allocate(std::max<size_t>(bytes, 1));
  if (block) exact_.insert(block);
  return block;
}

void CachingAllocator::deallocate(void* block, size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  stats_.live -= block_size(bytes);
  if (exact_.erase(block)) return source_.release(block);
  heap_.give(block);
  if (!caching_) release_empty_segments();
}

void CachingAllocator::release_empty_segments() {
  for (void* segment : heap_.remove_empty_segments()) source_.release(segment);
}

void CachingAllocator::release_cached() {
  std::lock_guard lock(mutex_);
  release_empty_segments();
}

void CachingAllocator::set_cap(size_t bytes) {
  std::lock_guard lock(mutex_);
  cap_ = bytes;
}

void CachingAllocator::set_caching(bool on) {
  std::lock_guard lock(mutex_);
  caching_ = on;
  if (!on) release_empty_segments();
}

void CachingAllocator::set_poison(bool on) {
  std::lock_guard lock(mutex_);
  poison_ = on;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.live;
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  MemoryStats stats = stats_;
  stats.cached = heap_.idle();
  return stats;
}

CachingAllocator& cpu_allocator() {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  static CachingAllocator& allocator = *[] {
    const bool caching = caching_is_wanted();
    auto* made = new CachingAllocator;
    made->set_caching(caching);
    return made;
  }();
  return allocator;
}

}  // namespace stipple
