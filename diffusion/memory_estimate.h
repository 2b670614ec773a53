#pragma once
#include "diffusion/pipeline.h"

namespace stipple {

// Bytes, f32. An estimate: what the operations keep for the backward pass, summed over the blocks.
struct MemoryEstimate {
  int64_t weights;         // all there is to sampling, but for one picture's activations at a time
  int64_t training_state;  // gradients and two moments; the EMA is `weights` once more
  int64_t activations;     // of one picture in a training step, without gradient checkpointing
};

MemoryEstimate estimate_memory(const Pipeline&, int64_t height, int64_t width);

}  // namespace stipple
