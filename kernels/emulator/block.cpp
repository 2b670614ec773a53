#include "kernels/emulator/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <new>

#include "kernels/emulator/symbols.h"

extern "C" const char __executable_start, _end;  // of the program: its code, constants and static variables

namespace emulator {
namespace {

constexpr size_t kStackBytes = 64 << 10, kGuardBytes = 4 << 10;
constexpr size_t kThreadBytes = (kMostThreads * sizeof(Thread) + kGuardBytes - 1) / kGuardBytes * kGuardBytes;

thread_local Block* block = nullptr;

std::byte* map_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

}  // namespace

constinit thread_local const Position* position = nullptr;

std::string to_string(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string to_string(const Where& where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

// A page that may not be touched lies below every stack: whoever needs more than the stack's size ends there.
Processor::Processor() : bytes_(kThreadBytes + kMostThreads * kStackBytes) {
  memory_ = map_memory(bytes_);
  shared_ = map_memory(kSharedBytes + 1024);
  threads_ = reinterpret_cast<Thread*>(memory_);
  for (int i = 0; i < kMostThreads; ++i) {
    std::byte* stack = memory_ + kThreadBytes + i * kStackBytes;
    mprotect(stack, kGuardBytes, PROT_NONE);
    new (threads_ + i) Thread;
    threads_[i].rank = i;
    threads_[i].fibre.give_stack(stack + kGuardBytes, kStackBytes - kGuardBytes);
  }
}

Processor::~Processor() {
  std::destroy_n(threads_, kMostThreads);
  munmap(memory_, bytes_);
  munmap(shared_, kSharedBytes + 1024);
}

Block& Block::current() { return *block; }

Block::Block(Processor& processor, const Launch& launch, uint3 index, Observer* observer)
    : processor_(processor),
      launch_(launch),
      index_(index),
      observer_(observer),
      count_(static_cast<int>(launch.threads.x * launch.threads.y * launch.threads.z)),
      meetings_((count_ + kWarp - 1) / kWarp),
      shared_used_(launch.shared_bytes) {
  std::memset(processor.shared(), 0xFF, shared_used_);
  for (int i = 0; i < count_; ++i) {
    Thread& t = processor.thread(i);
    const unsigned r = static_cast<unsigned>(i), x = launch.threads.x, y = launch.threads.y;
    t.position = {{r % x, r / x % y, r / (x * y)}, index, launch.threads, launch.blocks};
    t.finished = false;
    t.copies.reset();
    t.fibre.start(thread_entry);
    ready_.push_back(&t);
  }
}

std::string Block::run() {
  block = this;
  if (observer_) observer_->begin(*this);
  running_ = ready_.front();
  ready_.pop_front();
  position = &running_->position;
  processor_.system.switch_to(running_->fibre);
  position = nullptr;
  if (observer_ && failure_.empty()) observer_->end(*this);
  block = nullptr;
  return failure_;
}

void Block::thread_entry() {
  const Launch& launch = block->launch_;
  launch.run(launch.kernel, launch.arguments.get());
  block->running_->finished = true;
  ++block->finished_;
  block->go_on();
  __builtin_unreachable();
}

void Block::go_on() {
  if (ready_.empty()) {
    if (finished_ < count_) failure_ = name_of_kernel(launch_.kernel) + ": block " + to_string(index_) + deadlock();
    leave();
  }
  Thread& from = *running_;
  running_ = ready_.front();
  ready_.pop_front();
  position = &running_->position;
  from.fibre.switch_to(running_->fibre);
}

void Block::suspend(const char* operation, Where where) {
  running_->waiting_in = operation;
  running_->where = where;
  go_on();
}

void Block::leave() {
  running_->fibre.switch_to(processor_.system);
  __builtin_unreachable();
}

void Block::fail(const std::string& what) {
  failure_ = name_of_kernel(launch_.kernel) + ": block " + to_string(index_) + ", thread " +
             to_string(running_->position.thread) + ": " + what;
  leave();
}

std::string Block::deadlock() const {
  std::map<std::string, std::vector<const Thread*>> waiting;
  for (int i = 0; i < count_; ++i) {
    const Thread& t = processor_.thread(i);
    waiting[t.finished ? "have left the kernel" : std::string("wait in ") + t.waiting_in + " at " + to_string(t.where)]
        .push_back(&t);
  }
  std::string report = ": deadlock";
  const char* separator = ": ";
  for (const auto& [what, threads] : waiting) {
    report += separator + std::to_string(threads.size()) + " threads, the first " +
              to_string(threads.front()->position.thread) + ", " + what;
    separator = "; ";
  }
  return report;
}

void Block::barrier(int id, int expected, const char* operation, Where where) {
  std::vector<Thread*>& waiting = barriers_[id].waiting;
  // All threads of a block must come to the same barrier. Hardware counts and goes on, or hangs; neither is meant.
  if (id == 0 && !waiting.empty() && waiting.front()->where.line() != where.line())
    fail(std::string("divergence: comes to ") + operation + " at " + to_string(where) + ", but thread " +
         to_string(waiting.front()->position.thread) + " is at " + to_string(waiting.front()->where));
  waiting.push_back(running_);
  if (static_cast<int>(waiting.size()) < expected) return suspend(operation, where);
  for (Thread* t : waiting)
    if (t != running_) ready_.push_back(t);
  waiting.clear();
  if (observer_) observer_->block_barrier(*this, expected == count_);
}

bool Block::is_private(const std::byte* address) const {
  if (processor_.owns(address) || address == reinterpret_cast<const std::byte*>(&position)) return true;
  const auto* arguments = static_cast<const std::byte*>(launch_.arguments.get());
  if (address >= arguments && address < arguments + launch_.argument_bytes) return true;
  return address >= reinterpret_cast<const std::byte*>(&__executable_start) &&
         address < reinterpret_cast<const std::byte*>(&_end);
}

std::byte* Block::static_shared(const void* key, size_t bytes, size_t alignment) {
  for (const StaticVariable& v : statics_)
    if (v.key == key) return v.address;
  const size_t offset = (shared_used_ + alignment - 1) / alignment * alignment;
  if (offset + bytes > kSharedBytes)
    fail("the block's shared memory exceeds " + std::to_string(kSharedBytes) + " bytes");
  shared_used_ = offset + bytes;
  std::byte* address = processor_.shared() + offset;
  std::memset(address, 0xFF, bytes);
  statics_.push_back({key, address});
  return address;
}

}  // namespace emulator
