#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "diffusion/image/image.h"

namespace stipple {

struct GifTiming {  // hundredths of a second
  int frame = 10;
  int last = 200;
};

// An animated GIF (GIF89a) that runs for ever: each frame with 256 colours of its own (palette.h). Frames are of one
// size, at most 65,535 pixels wide and high.
std::string encode_gif(std::span<const Image> frames, const GifTiming& = {});

// Whole or not at all (tensor/file.h).
void write_gif(const std::filesystem::path&, std::span<const Image> frames, const GifTiming& = {});

}  // namespace stipple
