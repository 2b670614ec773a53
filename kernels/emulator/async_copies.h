#pragma once
#include <cstddef>
#include <deque>
#include <vector>

// cp.async of one thread: copies from global to shared memory that take effect only when they are waited for. Until
// then their destination is poison, so that whoever forgets the wait, or still reads the buffer's previous contents,
// computes with NaN.

namespace emulator {

struct AsyncCopy {
  std::byte* to;
  const std::byte* from;
  size_t bytes, valid;  // the rest is filled with zeros
  const void* site;
};

class AsyncCopies {
 public:
  void issue(const AsyncCopy&);
  void commit();           // what was issued since the last commit becomes a group
  void wait(size_t most);  // until at most so many groups are under way
  void wait_all();
  size_t pending() const { return issued_.size() + groups_.size(); }
  void reset();

 private:
  static void perform(const std::vector<AsyncCopy>&);

  std::vector<AsyncCopy> issued_;
  std::deque<std::vector<AsyncCopy>> groups_;
};

}  // namespace emulator
