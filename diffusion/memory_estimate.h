#pragma once
#include "diffusion/pipeline.h"

namespace stipple {

// Bytes. An estimate: what the operations keep for the backward pass, summed over the blocks.
struct MemoryEstimate {
  int64_t weights;         // all there is to sampling, but for one picture's activations at a time
  int64_t training_state;  // gradients, two moments, and weights rounded to `compute`; the EMA is `weights` once more
  int64_t activations;     // of one picture in a training step, without gradient checkpointing
};

// Of layers that compute in that dtype (Parameters::compute_in).
MemoryEstimate estimate_memory(const Pipeline&, int64_t height, int64_t width, Dtype compute = Dtype::f32);

}  // namespace stipple
