#pragma once
#include <memory>

#include "diffusion/training/trainer.h"
#include "tensor/random.h"

// A U-Net that the emulator takes a step of in a second, and something to train it on.

namespace stipple {

// 16 and 32 channels, attention at the lower level and in the middle, pictures of 16x16.
inline UNet2DConfig small_unet() {
  UNet2DConfig c;
  c.sample_height = c.sample_width = 16;
  c.in_channels = c.out_channels = 1;
  c.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  c.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  c.block_out_channels = {16, 32};
  c.layers_per_block = 1;
  c.norm_num_groups = 8;
  return c;
}

inline std::unique_ptr<Pipeline> small_pipeline(Device device) {
  auto pipeline = std::make_unique<Pipeline>(small_unet(), ConditioningConfig{}, SchedulerConfig{});
  PhiloxGenerator initial(1);
  pipeline->parameters.initialize(initial);
  pipeline->parameters.to(device);
  return pipeline;
}

inline TrainingBatch small_batch(int64_t step) {
  PhiloxGenerator generator(100 + static_cast<uint64_t>(step));
  TrainingBatch made;
  made.clean = uniform(generator, {4, 16, 16, 1});
  made.noise = normal(generator, {4, 16, 16, 1});
  made.timesteps = integers(generator, {4}, 0, 1000);
  return made;
}

}  // namespace stipple
