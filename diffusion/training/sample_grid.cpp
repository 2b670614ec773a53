#include "diffusion/training/sample_grid.h"

#include <algorithm>
#include <cmath>

#include "diffusion/generate.h"
#include "diffusion/image/grid.h"

namespace stipple {
namespace {

GenerateOptions generate_options(const Pipeline& pipeline, const SampleGridOptions& o) {
  GenerateOptions g;
  g.sampler = "ddim";
  g.steps = std::min(o.steps, pipeline.scheduler.num_train_timesteps);
  g.height = o.height, g.width = o.width;
  g.guidance_scale = o.guidance_scale;
  g.cancelled = o.cancelled;
  const ConditioningConfig& conditioning = pipeline.denoiser.conditioning;
  // A table may have room for more classes than the pictures had.
  const auto named = static_cast<int64_t>(conditioning.class_names.size());
  const int64_t classes = named ? std::min(named, conditioning.classes) : conditioning.classes;
  for (int64_t i = 0; i < o.count; ++i) {
    g.seeds.push_back(static_cast<uint64_t>(i));
    if (conditioning.kind != ClassConditioning::none) g.classes.push_back(i % classes);
  }
  return g;
}

// Two pictures of one size next to each other.
Image beside(const Image& left, const Image& right) {
  Image both(left.height, left.width + right.width, left.channels);
  for (int64_t row = 0; row < left.height; ++row) {
    std::copy_n(left.at(row, 0), left.width * left.channels, both.at(row, 0));
    std::copy_n(right.at(row, 0), right.width * right.channels, both.at(row, left.width));
  }
  return both;
}

}  // namespace

void check_samples(Pipeline& pipeline, const SampleGridOptions& o) {
  check_generate(pipeline, generate_options(pipeline, o));
}

std::optional<Image> draw_samples(Pipeline& pipeline, const Trainer& trainer, const SampleGridOptions& o) {
  const GenerateOptions options = generate_options(pipeline, o);
  const auto nrow = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(o.count))));
  const Tensor raw = generate(pipeline, options);
  if (!raw) return {};
  if (!trainer.ema()) return make_grid(raw, {.nrow = nrow});
  const Tensor weights = pipeline.parameters.values();
  pipeline.parameters.set_values(trainer.ema());
  const Tensor averaged = generate(pipeline, options);
  pipeline.parameters.set_values(weights);
  if (!averaged) return {};
  return beside(make_grid(raw, {.nrow = nrow}), make_grid(averaged, {.nrow = nrow}));
}

}  // namespace stipple
