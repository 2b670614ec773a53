#pragma once
#include <unordered_set>
#include <vector>

#include "kernels/emulator/api.h"
#include "kernels/emulator/counts.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/modelled_cache.h"
#include "kernels/emulator/observer.h"
#include "kernels/emulator/requests.h"

// Counts what a launch asks of memory and of tensor cores.
//
// Threads are run one after the other, so a warp's requests have to be put together again. Every lane writes down what
// it accesses; where all threads have come to a barrier, lanes go through their lists side by side. Those whose next
// access is the same instruction make one request; where lanes stand at different ones, the one that comes first in the
// machine code goes first, and the others wait for it, as on hardware, where lanes that left a loop early wait at its
// end.

namespace emulator {

struct Step {  // an access of one thread
  const void* site;
  uint64_t address;  // in shared memory: from its beginning
  uint32_t bytes;
  Path path;
};

class Counters final : public Observer {
 public:
  explicit Counters(const Launch&);
  void begin(Block&) override;
  void access(Block&, Thread&, const Access&) override;
  void tensor_core(Block&, Thread&, TensorCore, double flop, const void* site) override;
  void block_barrier(Block&, bool all_threads) override;
  void end(Block&) override;
  void keep();  // the launch has ended: hands its counts to take_counts()

 private:
  bool is_global(const std::byte* address, size_t bytes);
  void count_steps(Block&);
  void count_request(const void* site, Path);

  const void* kernel_;
  LaunchCounts counts_;
  std::map<const void*, Work> sites_;
  ModelledCache l2_;
  std::unordered_set<uint64_t> read_, written_;  // sectors, by the block that runs
  std::vector<MemoryRange> known_memory_;
  std::vector<std::vector<Step>> steps_;  // by thread, since the last barrier
  std::vector<LaneAccess> request_;
  std::vector<Sector> sectors_;
};

}  // namespace emulator
