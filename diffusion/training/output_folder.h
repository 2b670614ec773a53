#pragma once
#include <filesystem>
#include <optional>

#include "diffusion/training/train.h"

namespace stipple {

// DIR of a training run: made ready, and asked where to resume. A DIR that holds a run already is an error without
// --resume-from-checkpoint or --overwrite-output-dir (which removes the run's own files, nothing else).
// Returns the checkpoint to go on from, if any.
std::optional<std::filesystem::path> prepare_output_folder(const TrainOptions&, const TrainWatch&);

// Says what checkpoints will take, and throws where the disk has less.
void check_disk_space(const TrainOptions&, const Pipeline&, int64_t total_steps, const TrainWatch&);

}  // namespace stipple
