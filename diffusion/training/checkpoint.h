#pragma once
#include <filesystem>
#include <optional>

#include "diffusion/training/trainer.h"
#include "tensor/random.h"

// Checkpoints: DIR/checkpoint-STEP/ is a whole pipeline folder (with the EMA weights, where there are any) and training/,
// which holds what resuming needs to go on with the same bits: raw weights, moments, EMA, random state, position.

namespace stipple {

// The run a checkpoint belongs to. Going on with another one is possible, but not the same bits.
struct RunIdentity {
  uint64_t seed = 0;
  int64_t batch_size = 0, gradient_accumulation_steps = 0, pictures = 0;
  friend bool operator==(const RunIdentity&, const RunIdentity&) = default;
};

// Written under a temporary name, then renamed.
void save_checkpoint(const std::filesystem::path& folder, const Pipeline&, const Trainer&, const Generator&,
                     const RunIdentity&);

// Puts weights, moments, EMA, step and random state back; returns the run it was saved from. The pipeline must have been
// built from the same folder's configuration.
RunIdentity load_checkpoint(const std::filesystem::path& folder, Pipeline&, Trainer&, Generator&);

// All of DIR's checkpoints, oldest first, and the deletion of the oldest beyond `limit`.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& dir);
void prune_checkpoints(const std::filesystem::path& dir, int64_t limit);
std::filesystem::path checkpoint_folder(const std::filesystem::path& dir, int64_t step);

// Bytes of one checkpoint and of a final pipeline.
int64_t checkpoint_bytes(const Pipeline&, bool use_ema);
int64_t pipeline_bytes(const Pipeline&);

}  // namespace stipple
