#include "kernels/emulator/model_time.h"

#include <algorithm>
#include <cmath>

namespace emulator {
namespace {

// Multiprocessors, clocks, DRAM bandwidths and dense tensor-core peaks: NVIDIA's "A100 Tensor Core GPU Architecture"
// (2020) and A100 80GB datasheet; "H100 Tensor Core GPU Architecture" (2022) and H100 SXM datasheet, the clock being
// the one its tensor-core peak follows from; H200 datasheet; "Ada GPU Architecture" (2022).
// On Hopper these peaks are wgmma's; mma.sync reaches under two thirds of them, so that a kernel of ours that does
// reach that takes half as long again as the model's "at least". L2: the A100's 5120 bytes a clock are from its
// architecture paper. For the others NVIDIA names none: Hopper is taken to have as many bytes a clock, the RTX 4090
// what its multiprocessors can take, 64 bytes a clock each. On an H200, our convolutions were seen to get half of that
// (bench/results/gpu-h200-2026-11-26.md).
constexpr double kTera = 1e12, kGiga = 1e9;
constexpr Gpu kGpus[] = {
    {"A100", 108, 1.41 * kGiga, 2.039 * kTera, 5120 * 1.41 * kGiga, 312 * kTera, 156 * kTera},
    {"H100", 132, 1.83 * kGiga, 3.35 * kTera, 5120 * 1.83 * kGiga, 989.4 * kTera, 494.7 * kTera},
    {"H200", 132, 1.83 * kGiga, 4.8 * kTera, 5120 * 1.83 * kGiga, 989.4 * kTera, 494.7 * kTera},
    {"RTX 4090", 128, 2.52 * kGiga, 1.008 * kTera, 128 * 64 * 2.52 * kGiga, 165.2 * kTera, 82.6 * kTera},
};
constexpr double kIssues = 4;  // warp instructions a clock and multiprocessor

}  // namespace

std::span<const Gpu> gpus() { return kGpus; }

ModelTime model_time(const LaunchCounts& c, const Gpu& gpu) {
  const Work& work = c.work;
  const auto wavefronts = static_cast<double>(work[Path::shared_load].parts + work[Path::shared_store].parts);
  const double clocks = gpu.multiprocessors * gpu.clock;
  const ModelTime terms[] = {
      {static_cast<double>(c.dram_bytes()) / gpu.dram, "DRAM"},
      {static_cast<double>(work.moved_bytes()) / gpu.l2, "L2"},
      {wavefronts / clocks, "shared memory"},
      {work[TensorCore::bf16].flop / gpu.bf16 + work[TensorCore::tf32].flop / gpu.tf32, "tensor cores"},
      {static_cast<double>(work.instructions()) / (clocks * kIssues), "instructions"},
  };
  ModelTime longest = *std::max_element(std::begin(terms), std::end(terms),
                                        [](const ModelTime& a, const ModelTime& b) { return a.seconds < b.seconds; });
  const double average = static_cast<double>(c.blocks) / gpu.multiprocessors;
  longest.seconds *= std::ceil(average) / average;
  return longest;
}

ModelTime model_time(const KernelCounts& kernel, const Gpu& gpu) {
  ModelTime sum;
  double longest = 0;
  for (const LaunchCounts& launch : kernel.launches) {
    const ModelTime time = model_time(launch, gpu);
    sum.seconds += time.seconds;
    if (time.seconds >= longest) sum.bound = time.bound;
    longest = std::max(longest, time.seconds);
  }
  return sum;
}

}  // namespace emulator
