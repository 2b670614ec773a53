#include "kernels/emulator/counters.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "kernels/emulator/block.h"
#include "kernels/emulator/symbols.h"

namespace emulator {
namespace {

constexpr int64_t kL2Bytes = 40 << 20;  // an A100's; later GPUs have more

struct Kept {
  std::mutex mutex;
  std::vector<KernelCounts> kernels;
};

Kept& kept() {
  static Kept all;
  return all;
}

KernelCounts& kept_counts_of(const std::string& kernel) {
  std::vector<KernelCounts>& kernels = kept().kernels;
  const auto found = std::find_if(kernels.begin(), kernels.end(), [&](const auto& k) { return k.kernel == kernel; });
  return found != kernels.end() ? *found : kernels.emplace_back(KernelCounts{kernel, {}, {}});
}

Path path_of(bool shared, AccessKind kind) {
  const bool load = kind == AccessKind::read;
  return shared ? (load ? Path::shared_load : Path::shared_store) : (load ? Path::global_load : Path::global_store);
}

// The lists of a warp's lanes, gone through side by side.
class WarpSteps {
 public:
  explicit WarpSteps(std::span<const std::vector<Step>> lanes) : lanes_(lanes) {}

  // Takes the lanes that go next; one of their steps, or null at the end.
  const Step* next_request(std::vector<LaneAccess>& request) {
    const Step* first = earliest();
    request.clear();
    for (size_t lane = 0; first && lane < lanes_.size(); ++lane)
      if (const Step* step = next(lane); step && place(*step) == place(*first)) {
        request.push_back({static_cast<int>(lane), step->address, step->bytes});
        ++done_[lane];
      }
    return first;
  }

 private:
  static std::pair<const void*, Path> place(const Step& step) { return {step.site, step.path}; }
  const Step* next(size_t lane) const {
    return done_[lane] < lanes_[lane].size() ? &lanes_[lane][done_[lane]] : nullptr;
  }
  const Step* earliest() const {
    const Step* first = nullptr;
    for (size_t lane = 0; lane < lanes_.size(); ++lane)
      if (const Step* step = next(lane); step && (!first || place(*step) < place(*first))) first = step;
    return first;
  }

  std::span<const std::vector<Step>> lanes_;
  std::array<size_t, kWarp> done_{};
};

}  // namespace

std::vector<KernelCounts> take_counts() {
  const std::lock_guard lock(kept().mutex);
  return std::exchange(kept().kernels, {});
}

Counters::Counters(const Launch& launch) : kernel_(launch.kernel), l2_(kL2Bytes) {
  counts_.blocks = int64_t{launch.blocks.x} * launch.blocks.y * launch.blocks.z;
  counts_.threads = int64_t{launch.threads.x} * launch.threads.y * launch.threads.z;
  steps_.resize(counts_.threads);
}

void Counters::begin(Block&) {
  for (auto& steps : steps_) steps.clear();
}

bool Counters::is_global(const std::byte* address, size_t bytes) {
  for (const MemoryRange& range : known_memory_)
    if (range.holds(address, bytes)) return true;
  const MemoryRange range = find_memory(address);
  if (range.holds(address, bytes)) known_memory_.push_back(range);
  return range.kind != MemoryKind::unknown;
}

// A copy that fills with zeros and reads nothing (cp.async) still takes part in its warp's request.
void Counters::access(Block& block, Thread& thread, const Access& a) {
  const std::byte* shared = block.processor().shared();
  const bool is_shared = a.address >= shared && a.address < shared + kSharedBytes;
  if (!is_shared && a.bytes > 0 && (block.is_private(a.address) || !is_global(a.address, a.bytes))) return;
  const auto address = is_shared ? static_cast<uint64_t>(a.address - shared) : reinterpret_cast<uint64_t>(a.address);
  steps_[thread.rank].push_back({a.site, address, static_cast<uint32_t>(a.bytes), path_of(is_shared, a.kind)});
}

// Every lane of the warp says so; one counts.
void Counters::tensor_core(Block&, Thread& thread, TensorCore kind, double flop, const void* site) {
  if (thread.lane() != 0) return;
  for (Work* work : {&counts_.work, &sites_[site]}) {
    ++(*work)[kind].instructions;
    (*work)[kind].flop += flop;
  }
}

void Counters::block_barrier(Block& block, bool all_threads) {
  if (all_threads) count_steps(block);
}

void Counters::end(Block& block) {
  count_steps(block);
  counts_.block_bytes += static_cast<int64_t>(read_.size() + written_.size()) * kSectorBytes;
  read_.clear(), written_.clear();
  counts_.shared_bytes = std::max(counts_.shared_bytes, static_cast<int64_t>(block.shared_used()));
}

void Counters::count_steps(Block& block) {
  const std::span all(steps_);
  for (int first = 0; first < block.threads(); first += kWarp) {
    WarpSteps warp(all.subspan(first, std::min(kWarp, block.threads() - first)));
    while (const Step* step = warp.next_request(request_)) count_request(step->site, step->path);
  }
  for (auto& steps : steps_) steps.clear();
}

void Counters::count_request(const void* site, Path path) {
  Requests request{.count = 1};
  for (const LaneAccess& lane : request_) request.bytes += lane.bytes;
  if (path == Path::shared_load || path == Path::shared_store) {
    const Wavefronts wavefronts = wavefronts_of(request_);
    request.parts = wavefronts.count;
    request.least_parts = wavefronts.least;
  } else {
    find_sectors(request_, sectors_);
    request.parts = static_cast<int64_t>(sectors_.size());
    request.least_parts = least_sectors(sectors_);
    const bool load = path == Path::global_load;
    for (const Sector& s : sectors_) {
      load ? l2_.read(s.index) : l2_.write(s.index);
      (load ? read_ : written_).insert(s.index);
    }
  }
  counts_.work[path] += request;
  sites_[site][path] += request;
}

void Counters::keep() {
  l2_.write_back();
  counts_.compulsory_bytes = l2_.compulsory_bytes();
  counts_.dram_read_bytes = l2_.dram_read_bytes();
  counts_.dram_written_bytes = l2_.dram_written_bytes();
  const std::lock_guard lock(kept().mutex);
  KernelCounts& kernel = kept_counts_of(name_of_kernel(kernel_));
  kernel.launches.push_back(counts_);
  for (const auto& [site, work] : sites_) kernel.sites[site] += work;
}

}  // namespace emulator
