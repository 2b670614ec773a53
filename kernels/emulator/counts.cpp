#include "kernels/emulator/counts.h"

#include <algorithm>

#include "kernels/emulator/requests.h"
#include "kernels/emulator/symbols.h"

namespace emulator {

const char* name_of(Path path) {
  static constexpr const char* kNames[kPaths] = {"global load", "global store", "shared load", "shared store"};
  return kNames[static_cast<int>(path)];
}

Requests& Requests::operator+=(const Requests& more) {
  count += more.count;
  parts += more.parts;
  least_parts += more.least_parts;
  bytes += more.bytes;
  return *this;
}

Work& Work::operator+=(const Work& more) {
  for (int i = 0; i < kPaths; ++i) requests[i] += more.requests[i];
  for (int i = 0; i < kTensorCores; ++i) {
    tensor_cores[i].instructions += more.tensor_cores[i].instructions;
    tensor_cores[i].flop += more.tensor_cores[i].flop;
  }
  return *this;
}

int64_t Work::moved_bytes() const {
  return ((*this)[Path::global_load].parts + (*this)[Path::global_store].parts) * kSectorBytes;
}

int64_t Work::instructions() const {
  int64_t sum = 0;
  for (const Requests& r : requests) sum += r.count;
  for (const TensorWork& w : tensor_cores) sum += w.instructions;
  return sum;
}

double Work::tensor_flop() const {
  double sum = 0;
  for (const TensorWork& w : tensor_cores) sum += w.flop;
  return sum;
}

LaunchCounts KernelCounts::total() const {
  LaunchCounts sum;
  for (const LaunchCounts& l : launches) {
    sum.blocks += l.blocks;
    sum.threads = std::max(sum.threads, l.threads);
    sum.shared_bytes = std::max(sum.shared_bytes, l.shared_bytes);
    sum.work += l.work;
    sum.compulsory_bytes += l.compulsory_bytes;
    sum.block_bytes += l.block_bytes;
    sum.dram_read_bytes += l.dram_read_bytes;
    sum.dram_written_bytes += l.dram_written_bytes;
  }
  return sum;
}

std::map<std::string, Work> by_line(const KernelCounts& counts) {
  std::map<std::string, Work> lines;
  for (const auto& [site, work] : counts.sites) lines[line_of(site)] += work;
  return lines;
}

}  // namespace emulator
