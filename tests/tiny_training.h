#pragma once
#include <memory>

#include "diffusion/training/trainer.h"
#include "nn/mixed_precision.h"
#include "tensor/random.h"

// Training on CUDA of which the emulator takes several steps a second.

namespace stipple {

// Dropout, attention, classes: everything random or looked up in a step.
inline std::unique_ptr<Pipeline> tiny_training_pipeline() {
  UNet2DConfig c;
  c.sample_height = c.sample_width = 8;
  c.in_channels = 2;  // a picture and a plane of its class
  c.out_channels = 1;
  c.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  c.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  c.block_out_channels = {8, 16};
  c.layers_per_block = 1;
  c.norm_num_groups = 4;
  c.attention_head_dim = 8;
  c.dropout = 0.2;
  ConditioningConfig classes;
  classes.kind = ClassConditioning::channels;
  classes.classes = 3;
  classes.planes = 1;
  auto pipeline = std::make_unique<Pipeline>(c, classes, SchedulerConfig{});
  PhiloxGenerator initial(1);
  pipeline->parameters.initialize(initial);
  pipeline->parameters.to(Device::cuda);
  return pipeline;
}

inline TrainingBatch tiny_batch(uint64_t seed, int64_t images) {
  PhiloxGenerator generator(seed);
  TrainingBatch made;
  made.clean = uniform(generator, {images, 8, 8, 1});
  made.noise = normal(generator, {images, 8, 8, 1});
  made.timesteps = integers(generator, {images}, 0, 1000);
  made.labels = integers(generator, {images}, 0, 3);
  made.dropout_seed = seed;
  return made;
}

struct TinyTraining {
  std::unique_ptr<Pipeline> pipeline = tiny_training_pipeline();
  Trainer trainer;

  explicit TinyTraining(MixedPrecision precision)
      : trainer((set_mixed_precision(pipeline->parameters, precision), *pipeline), options()) {}
  static OptimizerOptions options() {
    OptimizerOptions o{.learning_rate = 1e-2, .schedule = {"cosine", 5, 20}, .max_grad_norm = 0.5};
    o.use_ema = true;
    return o;
  }
  StepReport step(int64_t micro_batches, int64_t images) {
    const uint64_t seed = 100 * static_cast<uint64_t>(trainer.steps());
    return trainer.step(micro_batches, [&](int64_t i) { return tiny_batch(seed + static_cast<uint64_t>(i), images); });
  }
};

}  // namespace stipple
