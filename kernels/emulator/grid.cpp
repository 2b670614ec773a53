#include "kernels/emulator/grid.h"

#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string_view>

#include "kernels/emulator/block.h"
#include "kernels/emulator/checker.h"
#include "kernels/emulator/counters.h"
#include "kernels/emulator/emulator.h"
#include "kernels/emulator/symbols.h"

namespace emulator {
namespace {

constexpr size_t kRemembered = 16;

// Addresses of kernels, in the order of their launches.
struct LatestKernels {
  std::mutex mutex;
  std::deque<const void*> kernels;

  void add(const void* kernel) {
    const std::lock_guard lock(mutex);
    kernels.push_back(kernel);
    if (kernels.size() > kRemembered) kernels.pop_front();
  }
};

LatestKernels& latest() {
  static LatestKernels latest;
  return latest;
}

std::atomic<Mode>& chosen_mode() {
  static std::atomic<Mode> chosen = [] {
    const char* wanted = std::getenv("STIPPLE_EMULATOR");
    return wanted && std::string_view(wanted) == "check" ? Mode::check : Mode::fast;
  }();
  return chosen;
}

Observer* observer_for(Mode wanted) {
  static thread_local Checker checker;
  return wanted == Mode::check ? &checker : nullptr;
}

std::string run_block(const Launch& launch, int64_t number, Observer* observer) {
  static thread_local std::unique_ptr<Processor> processor;
  if (!processor) processor = std::make_unique<Processor>();
  const unsigned i = static_cast<unsigned>(number), x = launch.blocks.x, y = launch.blocks.y;
  const uint3 index{i % x, i / x % y, i / x / y};
  std::string report = Block(*processor, launch, index, observer).run();
  if (!report.empty()) processor.reset();  // the threads that were stopped leave their stacks as they are
  return report;
}

std::string run_counted(const Launch& launch, int64_t blocks) {
  Counters counters(launch);
  for (int64_t i = 0; i < blocks; ++i)
    if (const std::string report = run_block(launch, i, &counters); !report.empty()) return report;
  counters.keep();
  return {};
}

}  // namespace

void set_mode(Mode wanted) { chosen_mode() = wanted; }
Mode mode() { return chosen_mode(); }

bool can_check() {
#ifdef STIPPLE_EMULATOR_HOOKS
  return true;
#else
  return false;
#endif
}

std::string latest_kernels() {
  const std::lock_guard lock(latest().mutex);
  std::string names;
  for (const void* kernel : latest().kernels) names += (names.empty() ? "" : ", ") + name_of_kernel(kernel);
  return names;
}

std::string run_grid(const Launch& launch) {
  latest().add(launch.kernel);
  const int64_t blocks = int64_t{launch.blocks.x} * launch.blocks.y * launch.blocks.z;
  if (mode() == Mode::count) return run_counted(launch, blocks);
  std::atomic<int64_t> failed = blocks;
  std::string failure;
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < blocks; ++i) {
    if (failed < i) continue;
    const std::string report = run_block(launch, i, observer_for(mode()));
    if (report.empty()) continue;
#pragma omp critical
    if (i < failed) {
      failed = i;
      failure = report;
    }
  }
  return failure;
}

}  // namespace emulator
