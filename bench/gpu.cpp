#include "bench/gpu.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/cuda/runtime.h"
#include "tensor/tensor.h"

// Measured on a GPU, by CUDA events.

namespace stipple::bench {
namespace {

constexpr int64_t kFlushed = int64_t{1} << 30;  // bytes: more than any L2

// Writes more than L2 holds, so that it holds nothing of ours. It takes the GPU a third of a millisecond or more, in
// which the host gets ahead: what follows is never measured waiting for a launch.
void flush() {
  static const Tensor& buffer = *new Tensor({kFlushed}, Dtype::u8, Device::cuda);
  cuda::check_call(cudaMemsetAsync(buffer.mutable_bytes(), 0, kFlushed, cuda::stream()), "bench: flushing L2");
}

// One run behind a flush. Warm: behind a run of its own besides, which brings into L2 what fits.
double kernel_seconds(const Work& work, bool cold) {
  flush();
  if (!cold) work.run();
  cuda::Event begin, end;
  begin.record();
  work.run();
  end.record();
  return 1e-3 * end.milliseconds_since(begin);
}

// Steps of a network follow each other, the host going ahead as in training.
std::vector<double> network_seconds(const Work& work, int64_t repeats) {
  std::vector<cuda::Event> events(static_cast<size_t>(repeats) + 1);
  for (size_t i = 0; i < events.size(); ++i) {
    if (i > 0) work.run();
    events[i].record();
  }
  std::vector<double> seconds;
  for (size_t i = 1; i < events.size(); ++i) seconds.push_back(1e-3 * events[i].milliseconds_since(events[i - 1]));
  return seconds;
}

std::vector<double> kernel_seconds(const Work& work, bool cold, int64_t repeats) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) seconds.push_back(kernel_seconds(work, cold));
  return seconds;
}

}  // namespace

nlohmann::json measure_on_gpu(const Work& work, int64_t repeats, bool cold) {
  cuda::synchronize();
  const auto seconds = work.network ? network_seconds(work, repeats) : kernel_seconds(work, cold, repeats);
  cuda::synchronize();
  nlohmann::json answer = {{"seconds", median(seconds)}};
  if (work.network) answer["peak_bytes"] = allocator_of(Device::cuda).stats().peak;
  return answer;
}

}  // namespace stipple::bench
