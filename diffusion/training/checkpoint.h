#pragma once
#include <filesystem>
#include <map>
#include <optional>

#include "diffusion/training/trainer.h"
#include "tensor/random.h"

// Checkpoints: DIR/checkpoint-STEP/ is a whole pipeline folder (with the EMA weights, where there are any) and
// training/, which holds what resuming needs to go on with the same bits: raw weights, moments, EMA, random state,
// position.

namespace stipple {

// What else decides about a run's bits: the values of its flags by their names. Going on with others is possible.
using RunSettings = std::map<std::string, std::string>;

// Written under a temporary name, then renamed.
void save_checkpoint(const std::filesystem::path& folder, const Pipeline&, const Trainer&, const Generator&,
                     const RunSettings&);

// Puts weights, moments, EMA, step and random state back; returns the settings it was saved with. The pipeline must
// have been built from the same folder's configuration.
RunSettings load_checkpoint(const std::filesystem::path& folder, Pipeline&, Trainer&, Generator&);

// All of DIR's checkpoints, oldest first, and the deletion of the oldest beyond `limit`.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& dir);
void prune_checkpoints(const std::filesystem::path& dir, int64_t limit);
std::filesystem::path checkpoint_folder(const std::filesystem::path& dir, int64_t step);
int64_t step_of_checkpoint(const std::filesystem::path& folder);  // -1: the name is no checkpoint's

// Bytes of one checkpoint and of a final pipeline.
int64_t checkpoint_bytes(const Pipeline&, bool use_ema);
int64_t pipeline_bytes(const Pipeline&);

}  // namespace stipple
