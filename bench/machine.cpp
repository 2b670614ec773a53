#include "bench/machine.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "bench/work.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
#include "tensor/tensor.h"

namespace stipple::bench {
namespace {

constexpr int kRepeats = 9;

// The best of a few: a bound is what the machine does undisturbed.
double least_seconds(const std::function<void()>& run) {
  double least = median_seconds(run, 1);
  for (int i = 1; i < kRepeats; ++i) least = std::min(least, median_seconds(run, 1));
  return least;
}

}  // namespace

double peak_flops() {
  constexpr int64_t kSteps = 2'000'000;
  const int64_t threads = cpu::threads();
  std::vector<int64_t> flop(threads);
  const double seconds = least_seconds([&] {
    cpu::parallel_for(threads, [&](int64_t i) {
      float keep[simd::kWidestVector] = {};
      flop[i] = simd::table().multiply_adds(keep, kSteps);
    });
  });
  return static_cast<double>(flop[0] * threads) / seconds;
}

double stream_bandwidth() {
  constexpr int64_t kElements = int64_t{1} << 25, kGrain = int64_t{1} << 16;  // 128 MiB an array
  const Tensor a = Tensor::zeros({kElements}), b = Tensor::full({kElements}, 1), c = Tensor::full({kElements}, 2);
  float* to = a.mutable_data<float>();
  const float *from_b = b.data<float>(), *from_c = c.data<float>();
  const double seconds = least_seconds([&] {
    cpu::parallel_for_ranges(kElements, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from_b[i] + 3 * from_c[i];
    });
  });
  return static_cast<double>(a.nbytes() + b.nbytes() + c.nbytes()) / seconds;
}

size_t peak_resident_bytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

std::string describe_processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "an unnamed processor";
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) name = line.substr(line.find(':') + 2);
  return fmt::format("{}, {} threads, {}", name, cpu::threads(), simd::table().name);
}

}  // namespace stipple::bench
