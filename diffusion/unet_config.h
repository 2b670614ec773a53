#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernels/activation.h"

namespace stipple {

enum class TimeScaleShift { none, scale_shift };  // diffusers' "default" and "scale_shift"
enum class ResampleType { conv, resnet };
enum class ClassEmbedding { none, table, timestep, identity };
enum class TimeEmbedding { positional, fourier, learned };

// Skip blocks (NCSN++) take a small picture of their own down and up beside the network.
bool carries_picture(const std::string& block_type);

// config.json of diffusers' UNet2DModel, with its defaults: a key that the file lacks has the value here, a key that is
// null is null; a flag that is null is false, a ResampleType conv.
struct UNet2DConfig {
  std::optional<int64_t> sample_height, sample_width;  // "sample_size": a number or [height, width]
  int64_t in_channels = 3, out_channels = 3;
  bool center_input_sample = false;
  TimeEmbedding time_embedding_type = TimeEmbedding::positional;
  std::optional<int64_t> time_embedding_dim;
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  std::vector<std::string> down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"};
  bool mid_block = true;  // "mid_block_type": "UNetMidBlock2D" or null
  std::vector<std::string> up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  std::vector<int64_t> block_out_channels = {224, 448, 672, 896};
  int64_t layers_per_block = 2;
  double mid_block_scale_factor = 1;
  int64_t downsample_padding = 1;
  ResampleType downsample_type = ResampleType::conv, upsample_type = ResampleType::conv;
  double dropout = 0;
  Activation act_fn = Activation::silu;
  std::optional<int64_t> attention_head_dim = 8;
  std::optional<int64_t> norm_num_groups = 32;  // null is possible where all blocks choose their own (Skip blocks)
  std::optional<int64_t> attn_norm_num_groups;
  double norm_eps = 1e-5;
  TimeScaleShift resnet_time_scale_shift = TimeScaleShift::none;
  bool add_attention = true;
  ClassEmbedding class_embedding =
      ClassEmbedding::none;  // "class_embed_type", and a table where num_class_embeds is set
  std::optional<int64_t> num_class_embeds;
  std::optional<int64_t> num_train_timesteps;  // rows of a learned time embedding

  int64_t time_embedding_width() const { return time_embedding_dim.value_or(4 * block_out_channels.front()); }
  int64_t groups_at(int64_t channels) const;  // norm_num_groups, or what stands for it at that width
  // Height and width must be multiples of this.
  int64_t size_divisor() const { return int64_t{1} << (block_out_channels.size() - 1); }
  void check_size(int64_t height, int64_t width) const;  // throws, naming the sizes that would do

  // `notices` receives a line for every key that is not known. Everything else that is wrong throws and names the
  // field; so does what is known but cannot be done here.
  static UNet2DConfig from_json(const std::string& text, const std::string& file, std::vector<std::string>& notices);
  std::string to_json() const;  // loads in diffusers
};

}  // namespace stipple
