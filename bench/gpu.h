#pragma once
#include <nlohmann/json_fwd.hpp>

#include "bench/work.h"

// Requests with `device: cuda` (PROTOCOL.md). gpu.cpp measures on hardware; in an emulated build, gpu_emulated.cpp
// counts and answers the model's times; gpu_without_cuda.cpp fails with one line.

namespace stipple::bench {

bool is_for_gpu(const nlohmann::json& request);

// Before the work is prepared: chooses the rung and whether tensor cores may round to tf32, and gives memory back.
void set_up_gpu(const nlohmann::json& request);

// The answer, but for flop and bytes. Kernels are measured with nothing of theirs in L2 (cold), or with what fits.
nlohmann::json measure_on_gpu(const Work&, int64_t repeats, bool cold);

// What a GPU can do at most: op `peak`, `of` bf16, tf32 (mma.sync from registers) or copy (device memory).
Work prepare_peak(const nlohmann::json& request);

}  // namespace stipple::bench
