#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/gpu.h"
#include "bench/peaks.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/runtime.h"
#include "tensor/error.h"

// What hardware and emulator have in common.

namespace stipple::bench {
namespace {

using Request = nlohmann::json;

// STIPPLE_<ladder>_CUDA as the request's `rung` says; the default where it says nothing.
void choose_rung(const Request& r) {
  static const std::map<std::string, const char*> ladders = {{"conv2d", "STIPPLE_CONV2D_CUDA"},
                                                             {"group_norm_silu", "STIPPLE_GROUP_NORM_CUDA"},
                                                             {"attention", "STIPPLE_ATTENTION_CUDA"},
                                                             {"matmul", "STIPPLE_MATMUL_CUDA"}};
  for (const auto& [operation, variable] : ladders) unsetenv(variable);
  if (!r.contains("rung")) return;
  const auto ladder = ladders.find(r.at("op"));
  check(ladder != ladders.end(), "{}: has no rungs", r.at("op").get<std::string>());
  setenv(ladder->second, r.at("rung").get<std::string>().c_str(), 1);
}

}  // namespace

void set_up_gpu(const Request& r) {
  allocator_of(Device::cuda).release_cached();
  cuda::allow_tf32(r.value("dtype", "f32") == "tf32");
  choose_rung(r);
}

Work prepare_peak(const Request& r) {
  const std::string of = r.at("of");
  if (of == "copy") {
    const Tensor from({r.at("count").get<int64_t>()}, Dtype::f32, Device::cuda);
    const Tensor to({from.numel()}, Dtype::f32, Device::cuda);
    from.fill(1);
    return {[=] { copy_elements(to, from); }, 0, 2.0 * static_cast<double>(from.nbytes())};
  }
  check(of == "bf16" || of == "tf32", "peak: of bf16, tf32 or copy, got '{}'", of);
  const bool bf16 = of == "bf16";
  const int64_t blocks = r.value("blocks", int64_t{2} * cuda::multiprocessors()), rounds = r.at("rounds");
  const Tensor sums({blocks * kPeakThreads}, Dtype::f32, Device::cuda);
  return {[=] { multiply_from_registers(sums, blocks, rounds, bf16); }, multiplied_flop(blocks, rounds, bf16)};
}

}  // namespace stipple::bench
