#pragma once
#include <span>

#include "kernels/emulator/counts.h"

// A model of a kernel's time, from its counts and a GPU's peaks; only hardware gives times. At least
//   max(DRAM bytes / bandwidth, L2 bytes / L2 bandwidth, shared wavefronts / (multiprocessors x clock),
//       tensor FLOP / peak, instructions / issue rate)
//   x blocks of the busiest multiprocessor / blocks of the average one,
// where instructions are those that are counted, L1 catches nothing, latency is hidden and a launch is free.

namespace emulator {

struct Gpu {
  const char* name;
  double multiprocessors, clock;  // Hz, boost
  double dram, l2;                // bytes a second
  double bf16, tf32;              // dense tensor-core FLOP a second, sums in f32
};
std::span<const Gpu> gpus();

struct ModelTime {
  double seconds = 0;
  const char* bound = "";  // which of the terms is the largest
};
ModelTime model_time(const LaunchCounts&, const Gpu&);
ModelTime model_time(const KernelCounts&, const Gpu&);  // all launches; the bound of the longest

}  // namespace emulator
