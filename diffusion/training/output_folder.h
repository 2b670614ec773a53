#pragma once
#include <filesystem>
#include <optional>

#include "diffusion/training/train.h"

namespace stipple {

// Looks at DIR and changes nothing. A DIR that holds a run already is an error without --resume-from-checkpoint or
// --overwrite-output-dir; so is one in the folder of the data, where a run would find its own pictures, and one whose
// old run holds what the new one starts from. Returns the checkpoint to go on from, if any.
std::optional<std::filesystem::path> check_output_folder(const TrainOptions&, const TrainWatch&);

// Makes DIR, once everything else about the run is known to be good. --overwrite-output-dir removes the old run's own
// files, nothing else. Returns it.
std::filesystem::path make_output_folder(const TrainOptions&);

// Says what the checkpoints that are still to be written will take, and throws where the disk has less. DIR need not be
// there yet; what --overwrite-output-dir will remove counts as free.
void check_disk_space(const TrainOptions&, const Pipeline&, int64_t done_steps, int64_t total_steps, const TrainWatch&);

}  // namespace stipple
