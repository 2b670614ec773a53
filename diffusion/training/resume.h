#pragma once
#include "diffusion/training/checkpoint.h"
#include "diffusion/training/train.h"

// A run that goes on from a checkpoint and what it is asked to be now: a network or noise schedule that differs is an
// error, everything else that changes the bits a notice.

namespace stipple {

// `given` is what --config or --from (`name`) says.
void check_same_network(const UNet2DConfig& given, const std::string& name, const UNet2DConfig& saved);

// Only what the command line named (SchedulerConfig::given) can contradict.
void check_same_schedule(const SchedulerConfig& given, const SchedulerConfig& saved);

// By the names of the flags. `data` is null for --replay.
RunSettings settings_of(const TrainOptions&, const Dataset* data, int64_t total_steps);

// Those that differ: "learning-rate 0.001 (now 0.002), random-flip false (now true)"; empty where none does.
std::string changes(const RunSettings& saved, const RunSettings& now);

}  // namespace stipple
