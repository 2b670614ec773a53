#include "kernels/emulator/async_copies.h"

#include <cstring>

#include "kernels/emulator/block.h"

namespace emulator {

void AsyncCopies::issue(const AsyncCopy& copy) {
  observe(copy.from, copy.valid, AccessKind::read, copy.site);
  std::memset(copy.to, 0xFF, copy.bytes);
  issued_.push_back(copy);
}

void AsyncCopies::commit() {
  groups_.push_back(std::move(issued_));
  issued_.clear();
}

void AsyncCopies::wait(size_t most) {
  for (; groups_.size() > most; groups_.pop_front()) perform(groups_.front());
}

void AsyncCopies::wait_all() {
  commit();
  wait(0);
}

void AsyncCopies::reset() {
  issued_.clear();
  groups_.clear();
}

void AsyncCopies::perform(const std::vector<AsyncCopy>& group) {
  for (const AsyncCopy& copy : group) {
    observe(copy.to, copy.bytes, AccessKind::write, copy.site);
    std::memcpy(copy.to, copy.from, copy.valid);
    std::memset(copy.to + copy.valid, 0, copy.bytes - copy.valid);
  }
}

}  // namespace emulator
