#pragma once
#include <cstdint>
#include <vector>

#include "kernels/emulator/observer.h"

// Finds, access by access, and reports with kernel, block, thread and line:
//   - reads of shared memory that nobody has written
//   - accesses beyond shared memory, beyond a device allocation, of freed memory, of the host's memory
//   - accesses that are not aligned to their size
//   - races in shared memory: two threads, at least one of them writing, with no barrier between them (__syncthreads,
//     or __syncwarp for threads of one warp). Named barriers are taken as barriers of the whole block.

namespace emulator {

class Checker final : public Observer {
 public:
  void begin(Block&) override;
  void access(Block&, Thread&, const Access&) override;
  void block_barrier(Block&, bool) override { ++epoch_; }
  void warp_barrier(Block&, int warp) override { ++warp_epochs_[warp]; }

 private:
  // Who touched a byte last, and when: times are counted in barriers of the block and of the thread's warp.
  struct Visit {
    uint32_t epoch = 0, warp_epoch = 0;
    int16_t thread = -1;
    bool atomic = false;
    const void* site = nullptr;
  };
  struct Byte {
    Visit writer, reader, other_reader;  // other_reader: another thread than reader
  };

  void check_shared(Block&, Thread&, const Access&, size_t offset);
  void check_global(Block&, const Access&);
  void check_order(Block&, Thread&, const Visit& earlier, const Access&, const char* what);
  bool ordered(const Visit&, const Thread&, bool atomic) const;

  uint32_t epoch_ = 0;
  std::vector<uint32_t> warp_epochs_;
  std::vector<Byte> bytes_;
};

}  // namespace emulator
