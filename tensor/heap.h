#pragma once
#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace stipple {

// Blocks cut out of segments. A request takes the smallest free block that holds it (of equal ones the lowest) and
// leaves the rest free; a block that is given back joins its free neighbours. So memory serves requests of any size, in
// whatever order they come. What lies above a segment's top has not been handed out: the top rises only where no free
// block fits, and falls when the block below it is given back.
//
// Sizes are multiples of the alignment that is wanted. No locks.
class Heap {
 public:
  void* take(size_t bytes);  // null where there is no room
  void give(void* block);
  void add_segment(void* begin, size_t bytes);
  std::vector<void*> remove_empty_segments();
  // f(begin, bytes) for the part of every segment that was handed out before.
  template <typename F>
  void for_touched(F&& f) const {
    for (const auto& [begin, segment] : segments_) f(begin, static_cast<size_t>(segment.highest - begin));
  }
  size_t idle() const { return idle_; }  // bytes that were handed out before and are not now

 private:
  struct Block {
    size_t bytes;
    std::byte* segment;
    bool is_free;
  };
  struct Segment {
    std::byte *end, *top, *highest;  // the highest the top ever was
  };
  using Blocks = std::map<std::byte*, Block>;

  void* cut(std::byte* at, size_t bytes);
  void* grow(size_t bytes);
  Blocks::iterator join(Blocks::iterator lower, Blocks::iterator upper);

  std::map<std::byte*, Segment> segments_;        // by where they begin
  Blocks blocks_;                                 // all below the tops
  std::set<std::pair<size_t, std::byte*>> free_;  // the free ones among them, by size
  size_t idle_ = 0;
};

}  // namespace stipple
