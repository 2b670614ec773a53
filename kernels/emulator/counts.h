#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/emulator/observer.h"

// What the counters have counted, for whoever prints it. Between set_mode(Mode::count) (emulator.h) and take_counts(),
// every launch is counted. Blocks then run one after the other, in their order.

namespace emulator {

enum class Path { global_load, global_store, shared_load, shared_store };  // atomics count as stores
inline constexpr int kPaths = 4;
const char* name_of(Path);

// Requests of warps: the lanes that pass one load or store together.
struct Requests {
  int64_t count = 0;
  int64_t parts = 0;        // sectors of 32 bytes in global memory, wavefronts in shared memory (requests.h)
  int64_t least_parts = 0;  // what the same bytes would take, side by side and without bank conflicts
  int64_t bytes = 0;        // that the lanes asked for, each for itself

  Requests& operator+=(const Requests&);
};

struct TensorWork {
  int64_t instructions = 0;
  double flop = 0;
};

// At one place of the source, or in a whole launch.
struct Work {
  std::array<Requests, kPaths> requests;
  std::array<TensorWork, kTensorCores> tensor_cores;

  Requests& operator[](Path path) { return requests[static_cast<int>(path)]; }
  const Requests& operator[](Path path) const { return requests[static_cast<int>(path)]; }
  TensorWork& operator[](TensorCore kind) { return tensor_cores[static_cast<int>(kind)]; }
  const TensorWork& operator[](TensorCore kind) const { return tensor_cores[static_cast<int>(kind)]; }
  Work& operator+=(const Work&);

  int64_t moved_bytes() const;   // sectors between multiprocessors and L2, if L1 caught nothing
  int64_t instructions() const;  // of a warp: those that were counted; arithmetic outside tensor cores is not
  double tensor_flop() const;
};

struct LaunchCounts {
  int64_t blocks = 0, threads = 0;  // threads of a block
  int64_t shared_bytes = 0;         // of a block, dynamic and static
  Work work;
  // Behind a modelled L2 of 40 MB that is empty before the launch and written back after it.
  int64_t compulsory_bytes = 0, dram_read_bytes = 0, dram_written_bytes = 0;
  int64_t block_bytes = 0;  // sectors, each once a block that reads it and once a block that writes it

  int64_t dram_bytes() const { return dram_read_bytes + dram_written_bytes; }
};

struct KernelCounts {
  std::string kernel;
  std::vector<LaunchCounts> launches;
  std::map<const void*, Work> sites;  // by return address, over all launches

  LaunchCounts total() const;  // sums; threads and shared_bytes are the largest
};

// What was counted since the last call, in the order in which kernels were first launched.
std::vector<KernelCounts> take_counts();

// By line of the source ("kernels/cuda/softmax.cu:57"), in order.
std::map<std::string, Work> by_line(const KernelCounts&);

}  // namespace emulator
