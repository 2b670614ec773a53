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

// Blocks come in eight sizes an octave: at most an eighth of a block is wasted, and near-equal requests share blocks.
size_t block_size(size_t bytes) {
  if (bytes <= 512) return (bytes + kAlignment) / kAlignment * kAlignment;
  const size_t step = std::max(std::bit_floor(bytes) / 8, kAlignment);
  return (bytes + step - 1) / step * step;
}

void* system_allocate(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (block && alignment == kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
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

CachingAllocator::CachingAllocator() : CachingAllocator({system_allocate, std::free, system_poison}) {}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  void* block = take_cached(size);
  if (!block) block = take_fresh(size, bytes);
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  if (poison_) source_.poison(block, caching_ ? size : bytes);
  return block;
}

void* CachingAllocator::take_cached(size_t size) {
  const auto found = free_.find(size);
  if (found == free_.end() || found->second.empty()) return nullptr;
  void* block = found->second.back();
  found->second.pop_back();
  stats_.cached -= size;
  return block;
}

void* CachingAllocator::take_fresh(size_t size, size_t bytes) {
  if (cap_ && stats_.live + stats_.cached + size > cap_) release_cached_locked();
  check(!cap_ || stats_.live + size <= cap_, "out of memory: {} bytes wanted, {} in use, the cap is {} bytes", size,
        stats_.live, cap_);
  const size_t wanted = caching_ ? size : std::max<size_t>(bytes, 1);
  void* block = source_.allocate(wanted);
  if (!block) {
    release_cached_locked();
    block = source_.allocate(wanted);
  }
  check(block, "out of memory: the system has no {} bytes left ({} in use by tensors)", size, stats_.live);
  if (!caching_) exact_.insert(block);
  return block;
}

void CachingAllocator::deallocate(void* block, size_t bytes) noexcept {
  const size_t size = block_size(bytes);
  std::lock_guard lock(mutex_);
  stats_.live -= size;
  if (exact_.erase(block) || !caching_) return source_.release(block);
  free_[size].push_back(block);
  stats_.cached += size;
}

void CachingAllocator::release_cached_locked() {
  for (auto& [size, blocks] : free_)
    for (void* block : blocks) source_.release(block);
  free_.clear();
  stats_.cached = 0;
}

void CachingAllocator::release_cached() {
  std::lock_guard lock(mutex_);
  release_cached_locked();
}

void CachingAllocator::set_cap(size_t bytes) {
  std::lock_guard lock(mutex_);
  cap_ = bytes;
}

void CachingAllocator::set_caching(bool on) {
  std::lock_guard lock(mutex_);
  caching_ = on;
  if (!on) release_cached_locked();
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
  return stats_;
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
