#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "diffusion/image/image.h"

namespace stipple {

struct PlotOptions {
  bool log_y = false;
  int64_t first_step = 1;  // of losses[0]
  int64_t width = 960, height = 600;
};

// The loss of every step (faint) and its running mean (bold) over axes with ticks. Losses that are not finite leave a
// gap.
Image draw_loss(std::span<const float> losses, const std::string& title, const PlotOptions& = {});
void plot_loss(const std::filesystem::path& png, std::span<const float> losses, const std::string& title,
               const PlotOptions& = {});

}  // namespace stipple
