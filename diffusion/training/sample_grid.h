#pragma once
#include <optional>

#include "diffusion/image/image.h"
#include "diffusion/pipeline.h"
#include "diffusion/training/trainer.h"

namespace stipple {

struct SampleGridOptions {
  int64_t count = 16, steps = 50;  // by DDIM
  int64_t height = 0, width = 0;
  double guidance_scale = 1;
  std::function<bool()> cancelled;
};

// Throws what drawing would throw, before there is anything to lose.
void check_samples(Pipeline&, const SampleGridOptions&);

// Pictures of seeds 0, 1, ... (and classes 0, 1, ...) with the weights as they are, and beside them, where there is an
// EMA, the same with the EMA weights: on short runs one is noise long after the other has learnt. Nothing where
// cancelled.
std::optional<Image> draw_samples(Pipeline&, const Trainer&, const SampleGridOptions&);

}  // namespace stipple
