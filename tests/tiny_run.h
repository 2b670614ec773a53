#pragma once
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "diffusion/image/encode.h"
#include "tensor/file.h"
#include "tests/run_command.h"

// A training run of a moment: thirteen pictures of 8x8 in three classes, and a network of 20 thousand parameters.

namespace stipple {

inline const char* const kTinyNetwork = R"({
  "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": [8, 12],
  "norm_num_groups": 4, "attention_head_dim": 4,
  "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]
})";

inline Image tiny_picture(int64_t i) {
  Image image(8, 8, 1);
  for (int64_t y = 0; y < 8; ++y)
    for (int64_t x = 0; x < 8; ++x)
      *image.at(y, x) = static_cast<uint8_t>(127 + 120 * std::sin(0.3 * i * x + 0.7 * y + i));
  return image;
}

// Writes FOLDER/pictures/{arc,bow,cup}/ and FOLDER/network.json.
inline void write_tiny_data(const ScratchFolder& folder) {
  const char* const classes[] = {"arc", "bow", "cup"};
  for (int64_t i = 0; i < 13; ++i) {
    const std::filesystem::path to = std::filesystem::path(folder / "pictures") / classes[i % 3];
    std::filesystem::create_directories(to);
    write_png(to / (std::to_string(i) + ".png"), tiny_picture(i));
  }
  write_file_atomically(folder / "network.json", kTinyNetwork);
}

// `stipple train` on that into FOLDER/OUT, without sample grids.
inline std::vector<std::string> tiny_train(const std::string& out, int64_t steps) {
  return words(
             "train --data pictures --config network.json --train-batch-size 3 --lr-warmup-steps 2 --learning-rate "
             "2e-3 "
             "--lr-scheduler constant --sample-count 0 --checkpointing-steps 0 --threads 2") +
         ("--out " + out + " --max-train-steps " + std::to_string(steps));
}

}  // namespace stipple
