#include "diffusion/memory_estimate.h"

namespace stipple {
namespace {

// Kept of a ResNet block, in maps: x and its norm (in channels), conv1's result, the second norm, and the result (out
// channels).
int64_t resnet(const ResnetBlock& block, int64_t pixels) {
  return pixels * (2 * block.conv1.weight.dim(3) + 3 * block.conv1.weight.dim(0));
}

// x, its norm, q, k, v, what attention mixes, the projection and the sum.
int64_t attention(const AttentionBlock& block, int64_t pixels) { return pixels * 8 * block.to_q.weight.dim(1); }

template <typename Block>
int64_t level(const Block& block, int64_t pixels) {
  int64_t elements = 0;
  for (const ResnetBlock& r : block.resnets) elements += resnet(r, pixels);
  for (const AttentionBlock& a : block.attentions) elements += attention(a, pixels);
  return elements;
}

int64_t activations(const UNet2DModel& unet, int64_t height, int64_t width) {
  int64_t pixels = height * width, elements = 3 * pixels * unet.conv_in.weight.dim(0);
  for (const DownBlock& block : unet.down_blocks) {
    elements += level(block, pixels);
    if (block.downsample_conv || block.downsample_resnet) pixels /= 4;
  }
  if (unet.mid_block) {
    elements += resnet(unet.mid_block->resnet0, pixels) + resnet(unet.mid_block->resnet1, pixels);
    if (unet.mid_block->attention) elements += attention(*unet.mid_block->attention, pixels);
  }
  for (const UpBlock& block : unet.up_blocks) {
    elements += level(block, pixels);
    for (const ResnetBlock& r : block.resnets) elements -= pixels * r.conv1.weight.dim(3);  // others' results
    if (!block.upsample_conv && !block.upsample_resnet) continue;
    pixels *= 4;
    elements += pixels * block.resnets.back().conv2.weight.dim(0);
  }
  return elements;
}

}  // namespace

MemoryEstimate estimate_memory(const Pipeline& pipeline, int64_t height, int64_t width, Dtype compute) {
  const int64_t parameters = pipeline.parameters.count(), weights = 4 * parameters;
  const auto bytes = static_cast<int64_t>(size_of(compute));
  return {weights, 3 * weights + (compute == Dtype::f32 ? 0 : bytes * parameters),
          bytes * activations(pipeline.denoiser.unet, height, width)};
}

}  // namespace stipple
