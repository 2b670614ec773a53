#pragma once
#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kernels/emulator/api.h"
#include "kernels/emulator/async_copies.h"
#include "kernels/emulator/device.h"
#include "kernels/emulator/fibre.h"
#include "kernels/emulator/observer.h"

// One block of CUDA threads, run to its end by one thread of the operating system. Threads of the block are fibres:
// each runs until it has to wait (at a barrier, for the other lanes of its warp), then the next that is ready goes on.
// If none is ready and not all have finished, the block is deadlocked, and the report says who waits where.

namespace emulator {

inline constexpr int kMostThreads = 1024, kWarp = 32;
inline constexpr size_t kSharedBytes = 227 << 10;  // the most a block may have, of an H100

struct Thread {
  Fibre fibre;
  Position position;
  int rank = 0;  // in its block
  bool finished = false;
  const char* waiting_in = nullptr;  // for reports
  Where where;
  AsyncCopies copies;

  int lane() const { return rank % kWarp; }
  int warp() const { return rank / kWarp; }
};

// Lanes of a warp that meet for one operation. The last to come does it for all, with what each one brought.
struct Meeting {
  uint32_t mask, arrived;
  const char* operation;
  Where where;
  std::array<void*, kWarp> brought;
};

// What an operating-system thread needs to run blocks, one after the other: stacks, and shared memory.
class Processor {
 public:
  Processor();
  ~Processor();
  Processor(const Processor&) = delete;

  Thread& thread(int rank) { return threads_[rank]; }
  std::byte* shared() const { return shared_; }
  // Registers and local memory, as the device would call them: stacks and what describes the threads.
  bool owns(const void* address) const { return address >= memory_ && address < memory_ + bytes_; }
  Fibre system;  // where the processor was before the block

 private:
  std::byte *memory_, *shared_;
  size_t bytes_;
  Thread* threads_;
};

class Block {
 public:
  Block(Processor&, const Launch&, uint3 index, Observer* observer);
  // Runs it; what was found wrong, empty if nothing.
  std::string run();

  static Block& current();
  Thread& running() { return *running_; }
  int threads() const { return count_; }
  const Launch& launch() const { return launch_; }
  Processor& processor() { return processor_; }
  Observer* observer() { return observer_; }
  size_t shared_used() const { return shared_used_; }
  // Neither shared nor global memory on the device: registers, local memory, kernel arguments, constants.
  bool is_private(const std::byte* address) const;

  void barrier(int id, int expected, const char* operation, Where);
  // Calls all(meeting) once every lane of the mask has come; a lane's own part is in meeting.brought[lane].
  template <typename F>
  void meet(uint32_t mask, const char* operation, Where where, void* mine, F&& all) {
    if (Meeting* meeting = arrive(mask, operation, where, mine)) {
      all(*meeting);
      release(meeting);
    }
  }
  std::byte* static_shared(const void* key, size_t bytes, size_t alignment);

  // Ends the block with a report that begins with kernel, block and thread.
  [[noreturn]] void fail(const std::string& what);

 private:
  struct Barrier {
    std::vector<Thread*> waiting;
  };
  struct StaticVariable {
    const void* key;
    std::byte* address;
  };

  static void thread_entry();
  void go_on();  // in the next thread that is ready
  void suspend(const char* operation, Where);
  Meeting* arrive(uint32_t mask, const char* operation, Where, void* mine);
  void release(Meeting*);
  [[noreturn]] void leave();
  std::string deadlock() const;

  Processor& processor_;
  const Launch& launch_;
  uint3 index_;
  Observer* observer_;
  int count_, finished_ = 0;
  Thread* running_ = nullptr;
  std::deque<Thread*> ready_;
  std::array<Barrier, 16> barriers_;
  std::vector<std::vector<Meeting>> meetings_;  // by warp: those under way, with different masks
  std::vector<StaticVariable> statics_;
  size_t shared_used_;
  std::string failure_;
};

std::string to_string(const uint3&);  // "(1,0,0)"
std::string to_string(const Where&);  // "kernels/cuda/softmax.cu:57"

}  // namespace emulator
