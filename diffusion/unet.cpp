#include "diffusion/unet.h"

#include "kernels/timestep_embedding.h"

namespace stipple {
namespace {

ResnetOptions resnet_options(const UNet2DConfig& c) {
  return {.time_embedding_width = c.time_embedding_width(),
          .groups = c.norm_num_groups,
          .eps = c.norm_eps,
          .act_fn = c.act_fn,
          .scale_shift = c.resnet_time_scale_shift == TimeScaleShift::scale_shift};
}

AttentionOptions attention_options(const UNet2DConfig& c, int64_t channels) {
  const int64_t width = c.attention_head_dim.value_or(channels);
  check(width <= channels, "unet: field 'attention_head_dim' is {}, wider than a block of {} channels", width, channels);
  return {.channels = channels, .heads = channels / width, .head_width = width, .groups = c.norm_num_groups, .eps = c.norm_eps};
}

// "AttnDownBlock2D" has attention, "ResnetDownsampleBlock2D" resamples by a ResNet block, an Attn block where the config
// says so.
BlockOptions block_options(const UNet2DConfig& c, const std::string& type, ResampleType resample, int64_t channels,
                           bool last) {
  const bool attends = type.starts_with("Attn");
  return {.resnet = resnet_options(c),
          .attention = attends ? std::optional(attention_options(c, channels)) : std::nullopt,
          .resample = !last,
          .resample_by_resnet = type.starts_with("Resnet") || (attends && resample == ResampleType::resnet),
          .downsample_padding = c.downsample_padding};
}

BlockOptions mid_options(const UNet2DConfig& c) {
  BlockOptions o;
  o.resnet = resnet_options(c);
  o.resnet.output_scale_factor = c.mid_block_scale_factor;
  if (!c.add_attention) return o;
  o.attention = attention_options(c, c.block_out_channels.back());
  o.attention->output_scale_factor = c.mid_block_scale_factor;
  // diffusers leaves this norm out where scale_shift meets no attn_norm_num_groups; checkpoints rely on it.
  if (c.attn_norm_num_groups) o.attention->groups = *c.attn_norm_num_groups;
  else if (o.resnet.scale_shift) o.attention->groups.reset();
  return o;
}

// Level i of n on the way down, and on the way up where channels and types stand reversed.
std::vector<DownBlock> build_down_blocks(Scope scope, const UNet2DConfig& c) {
  std::vector<DownBlock> blocks;
  const auto& channels = c.block_out_channels;
  for (size_t i = 0; i < channels.size(); ++i) {
    const bool last = i + 1 == channels.size();
    blocks.emplace_back(scope / i, channels[i ? i - 1 : 0], channels[i], c.layers_per_block,
                        block_options(c, c.down_block_types[i], c.downsample_type, channels[i], last));
  }
  return blocks;
}

std::vector<UpBlock> build_up_blocks(Scope scope, const UNet2DConfig& c) {
  std::vector<UpBlock> blocks;
  const std::vector<int64_t> channels(c.block_out_channels.rbegin(), c.block_out_channels.rend());
  for (size_t i = 0; i < channels.size(); ++i) {
    const bool last = i + 1 == channels.size();
    blocks.emplace_back(scope / i, channels[last ? i : i + 1], channels[i ? i - 1 : 0], channels[i],
                        c.layers_per_block + 1,
                        block_options(c, c.up_block_types[i], c.upsample_type, channels[i], last));
  }
  return blocks;
}

std::optional<Embedding> build_class_table(Scope scope, const UNet2DConfig& c) {
  if (c.class_embedding != ClassEmbedding::table) return {};
  return Embedding(scope, *c.num_class_embeds, c.time_embedding_width());
}

std::optional<TimestepEmbedding> build_class_embedding(Scope scope, const UNet2DConfig& c) {
  if (c.class_embedding != ClassEmbedding::timestep) return {};
  return TimestepEmbedding(scope, c.block_out_channels.front(), c.time_embedding_width());
}

std::optional<MidBlock> build_mid_block(Scope scope, const UNet2DConfig& c) {
  if (!c.mid_block) return {};
  return MidBlock(scope, c.block_out_channels.back(), mid_options(c));
}

}  // namespace

TimestepEmbedding::TimestepEmbedding(Scope scope, int64_t in, int64_t out)
    : linear_1(scope / "linear_1", in, out), linear_2(scope / "linear_2", out, out) {}

Var TimestepEmbedding::operator()(const Var& waves) const { return linear_2(silu(linear_1(waves))); }

UNet2DModel::UNet2DModel(Scope scope, const UNet2DConfig& c)
    : config(c),
      conv_in(scope / "conv_in", c.in_channels, c.block_out_channels.front(), 3),
      time_embedding(scope / "time_embedding", c.block_out_channels.front(), c.time_embedding_width()),
      class_table(build_class_table(scope / "class_embedding", c)),
      class_embedding(build_class_embedding(scope / "class_embedding", c)),
      down_blocks(build_down_blocks(scope / "down_blocks", c)),
      mid_block(build_mid_block(scope / "mid_block", c)),
      up_blocks(build_up_blocks(scope / "up_blocks", c)),
      conv_norm_out(scope / "conv_norm_out", c.norm_num_groups, c.block_out_channels.front(), c.norm_eps),
      conv_out(scope / "conv_out", c.block_out_channels.front(), c.out_channels, 3) {}

Tensor UNet2DModel::waves(const Tensor& numbers, Dtype dtype) const {
  return kernels::timestep_embedding(numbers, {.dim = config.block_out_channels.front(),
                                               .flip_sin_to_cos = config.flip_sin_to_cos,
                                               .freq_shift = config.freq_shift})
      .to(dtype);
}

void UNet2DModel::check_labels(const Tensor& labels, int64_t batch) const {
  const bool wanted = config.class_embedding != ClassEmbedding::none;
  check(wanted || !labels, "unet: labels were given, but the network was not conditioned on classes");
  if (!wanted) return;
  check(labels.defined(), "unet: the network is conditioned on classes: labels are needed");
  const bool identity = config.class_embedding == ClassEmbedding::identity;
  const Shape expected = identity ? Shape{batch, config.time_embedding_width()} : Shape{batch};
  check(labels.shape() == expected, "unet: labels {}, expected {}{}", describe(labels), identity ? "f32" : "i64",
        to_string(expected));
}

Var UNet2DModel::embed_class(const Tensor& labels, Dtype dtype) const {
  switch (config.class_embedding) {
    case ClassEmbedding::table: return (*class_table)(labels);
    case ClassEmbedding::timestep: return (*class_embedding)(waves(labels, dtype));
    case ClassEmbedding::identity: return labels.to(dtype);
    case ClassEmbedding::none: break;
  }
  return {};
}

Var UNet2DModel::operator()(const Var& sample, const Tensor& timesteps, const Tensor& labels) const {
  config.check_size(sample.dim(1), sample.dim(2));
  check(timesteps.shape() == Shape{sample.dim(0)}, "unet: timesteps {} for sample {}", describe(timesteps),
        describe(sample.value()));
  const Dtype dtype = sample.value().dtype();
  check_labels(labels, sample.dim(0));
  Var embedding = time_embedding(waves(timesteps, dtype));
  if (labels) embedding = embedding + embed_class(labels, dtype);

  Var h = conv_in(config.center_input_sample ? affine(sample, 2, -1) : sample);
  std::vector<Var> skips{h};
  for (const DownBlock& block : down_blocks) h = block(h, embedding, skips);
  if (mid_block) h = (*mid_block)(h, embedding);
  for (const UpBlock& block : up_blocks) h = block(h, embedding, skips);
  return conv_out(conv_norm_out(h, true));
}

void UNet2DModel::set_gradient_checkpointing(bool on) {
  const auto set = [on](auto& blocks) {
    for (auto& block : blocks) {
      for (ResnetBlock& resnet : block.resnets) resnet.checkpointing = on;
      for (AttentionBlock& attention : block.attentions) attention.checkpointing = on;
    }
  };
  set(down_blocks);
  set(up_blocks);
  if (!mid_block) return;
  mid_block->resnet0.checkpointing = mid_block->resnet1.checkpointing = on;
  if (mid_block->attention) mid_block->attention->checkpointing = on;
}

}  // namespace stipple
