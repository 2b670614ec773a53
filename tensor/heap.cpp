#include "tensor/heap.h"

#include <algorithm>

namespace stipple {

void* Heap::take(size_t bytes) {
  const auto fits = free_.lower_bound({bytes, nullptr});
  void* block = fits != free_.end() ? cut(fits->second, bytes) : grow(bytes);
  if (block) idle_ -= bytes;
  return block;
}

void* Heap::cut(std::byte* at, size_t bytes) {
  Block& block = blocks_.at(at);
  free_.erase({block.bytes, at});
  if (const size_t rest = block.bytes - bytes; rest > 0) {
    blocks_[at + bytes] = {rest, block.segment, true};
    free_.insert({rest, at + bytes});
  }
  block.bytes = bytes;
  block.is_free = false;
  return at;
}

// Where the fewest bytes are handed out for the first time; of equal segments, the lowest.
void* Heap::grow(size_t bytes) {
  const auto fresh = [&](const Segment& s) { return std::max(s.top + bytes, s.highest) - s.highest; };
  auto chosen = segments_.end();
  for (auto at = segments_.begin(); at != segments_.end(); ++at) {
    const Segment& segment = at->second;
    if (static_cast<size_t>(segment.end - segment.top) < bytes) continue;
    if (chosen == segments_.end() || fresh(segment) < fresh(chosen->second)) chosen = at;
  }
  if (chosen == segments_.end()) return nullptr;
  auto& [begin, segment] = *chosen;
  std::byte* at = segment.top;
  blocks_[at] = {bytes, begin, false};
  idle_ += fresh(segment);  // until take() counts the block
  segment.top += bytes;
  segment.highest = std::max(segment.top, segment.highest);
  return at;
}

// One block of two where both are free and neighbours; says which block `upper` is then.
Heap::Blocks::iterator Heap::join(Blocks::iterator lower, Blocks::iterator upper) {
  const bool are_free = lower->second.is_free && upper->second.is_free;
  if (!are_free || lower->second.segment != upper->second.segment) return upper;
  for (const auto& block : {lower, upper}) free_.erase({block->second.bytes, block->first});
  lower->second.bytes += upper->second.bytes;
  free_.insert({lower->second.bytes, lower->first});
  blocks_.erase(upper);
  return lower;
}

void Heap::give(void* given) {
  auto block = blocks_.find(static_cast<std::byte*>(given));
  idle_ += block->second.bytes;
  block->second.is_free = true;
  free_.insert({block->second.bytes, block->first});
  if (block != blocks_.begin()) block = join(std::prev(block), block);
  if (const auto next = std::next(block); next != blocks_.end()) join(block, next);
  Segment& segment = segments_.at(block->second.segment);
  if (block->first + block->second.bytes != segment.top) return;
  segment.top = block->first;
  free_.erase({block->second.bytes, block->first});
  blocks_.erase(block);
}

void Heap::add_segment(void* begin, size_t bytes) {
  auto* first = static_cast<std::byte*>(begin);
  segments_[first] = {first + bytes, first, first};
}

std::vector<void*> Heap::remove_empty_segments() {
  std::vector<void*> removed;
  for (auto segment = segments_.begin(); segment != segments_.end();) {
    const auto& [begin, state] = *segment;
    if (state.top != begin) {
      ++segment;
      continue;
    }
    idle_ -= state.highest - begin;
    removed.push_back(begin);
    segment = segments_.erase(segment);
  }
  return removed;
}

}  // namespace stipple
