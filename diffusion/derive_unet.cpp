#include "diffusion/derive_unet.h"

#include "tensor/error.h"

namespace stipple {
namespace {

// Widths by level, from the course's notebooks (28 px: unit 2, 02; 32 px: unit 1, 01) and diffusers' trainer (128 px
// and up).
std::vector<int64_t> widths(int64_t resolution) {
  if (resolution <= 28) return {32, 64, 64};
  if (resolution <= 64) return {64, 128, 128, 256};
  if (resolution <= 96) return {64, 128, 128, 256, 256};
  return {128, 128, 256, 256, 512, 512};
}

int64_t levels_that_fit(int64_t resolution) {
  int64_t levels = 1;
  while (resolution % 2 == 0 && resolution / 2 >= 4) {
    resolution /= 2;
    ++levels;
  }
  return levels;
}

}  // namespace

UNet2DConfig derive_unet(int64_t resolution, int64_t channels) {
  UNet2DConfig c;
  c.sample_height = c.sample_width = resolution;
  c.in_channels = c.out_channels = channels;
  c.block_out_channels = widths(resolution);
  const auto most = static_cast<size_t>(levels_that_fit(resolution));
  if (c.block_out_channels.size() > most) c.block_out_channels.resize(most);
  const size_t levels = c.block_out_channels.size();
  c.down_block_types.clear();
  for (size_t i = 0; i < levels; ++i) {
    const bool attends = resolution >> i <= 16;
    c.down_block_types.push_back(attends ? "AttnDownBlock2D" : "DownBlock2D");
  }
  c.up_block_types.clear();
  for (size_t i = levels; i-- > 0;)
    c.up_block_types.push_back(c.down_block_types[i] == "DownBlock2D" ? "UpBlock2D" : "AttnUpBlock2D");
  return c;
}

std::string summary(const UNet2DConfig& c) {
  std::string channels, attention;
  for (size_t i = 0; i < c.block_out_channels.size(); ++i) {
    channels += fmt::format("{}{}", i ? "/" : "", c.block_out_channels[i]);
    if (c.down_block_types[i].starts_with("Attn"))
      attention += fmt::format("{}{}", attention.empty() ? "" : ", ", i + 1);
  }
  return fmt::format("channels {}, {} layers a level, attention {}", channels, c.layers_per_block,
                     attention.empty() ? "in the middle only" : "at level " + attention);
}

}  // namespace stipple
