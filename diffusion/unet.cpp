#include "diffusion/unet.h"

#include <numbers>
#include <utility>

#include "kernels/fourier_embedding.h"

namespace stipple {
namespace {

constexpr double kFourierScale = 16;  // deviation of the frequencies
constexpr int64_t kSkipAttentionGroups = 32;

ResnetOptions resnet_options(const UNet2DConfig& c, int64_t channels) {
  return {.time_embedding_width = c.time_embedding_width(),
          .groups = c.groups_at(channels),
          .groups_out = c.groups_at(channels),
          .eps = c.norm_eps,
          .act_fn = c.act_fn,
          .scale_shift = c.resnet_time_scale_shift == TimeScaleShift::scale_shift,
          .dropout = c.dropout};
}

AttentionOptions attention_options(const UNet2DConfig& c, int64_t channels) {
  const int64_t width = c.attention_head_dim.value_or(channels);
  check(width <= channels, "unet: field 'attention_head_dim' is {}, wider than a block of {} channels", width,
        channels);
  return {.channels = channels,
          .heads = channels / width,
          .head_width = width,
          .groups = c.groups_at(channels),
          .eps = c.norm_eps};
}

// "AttnDownBlock2D" has attention, "ResnetDownsampleBlock2D" resamples by a ResNet block, an Attn block where the
// config says so.
BlockOptions block_options(const UNet2DConfig& c, const std::string& type, ResampleType resample, int64_t channels,
                           bool last) {
  const bool attends = type.starts_with("Attn");
  BlockOptions o{.resnet = resnet_options(c, channels),
                 .attention = attends ? std::optional(attention_options(c, channels)) : std::nullopt,
                 .resample = !last,
                 .resample_by_resnet = type.starts_with("Resnet") || (attends && resample == ResampleType::resnet),
                 .skip = carries_picture(type),
                 .downsample_padding = c.downsample_padding};
  if (!o.skip) return o;
  o.resnet.output_scale_factor = std::numbers::sqrt2;
  if (!attends) return o;
  o.attention->output_scale_factor = std::numbers::sqrt2;
  o.attention->groups = kSkipAttentionGroups;
  return o;
}

BlockOptions mid_options(const UNet2DConfig& c) {
  BlockOptions o;
  o.resnet = resnet_options(c, c.block_out_channels.back());
  o.resnet.output_scale_factor = c.mid_block_scale_factor;
  if (!c.add_attention) return o;
  o.attention = attention_options(c, c.block_out_channels.back());
  o.attention->output_scale_factor = c.mid_block_scale_factor;
  // diffusers leaves this norm out where scale_shift meets no attn_norm_num_groups; checkpoints rely on it.
  if (c.attn_norm_num_groups)
    o.attention->groups = *c.attn_norm_num_groups;
  else if (o.resnet.scale_shift)
    o.attention->groups.reset();
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

// Fourier features are pairs.
int64_t projected_width(const UNet2DConfig& c) {
  return c.block_out_channels.front() * (c.time_embedding_type == TimeEmbedding::fourier ? 2 : 1);
}

Parameter projection_weight(Scope scope, const UNet2DConfig& c) {
  const int64_t width = c.block_out_channels.front();
  switch (c.time_embedding_type) {
    case TimeEmbedding::positional:
      break;
    case TimeEmbedding::fourier:
      return scope.frozen("weight", {width}, Init::normal(kFourierScale));
    case TimeEmbedding::learned:
      return scope.parameter("weight", {*c.num_train_timesteps, width}, Init::normal(1));
  }
  return {};
}

std::optional<Embedding> build_class_table(Scope scope, const UNet2DConfig& c) {
  if (c.class_embedding != ClassEmbedding::table) return {};
  return Embedding(scope, *c.num_class_embeds, c.time_embedding_width());
}

std::optional<TimestepEmbedding> build_class_embedding(Scope scope, const UNet2DConfig& c) {
  if (c.class_embedding != ClassEmbedding::timestep) return {};
  return TimestepEmbedding(scope, projected_width(c), c.time_embedding_width());
}

std::optional<MidBlock> build_mid_block(Scope scope, const UNet2DConfig& c) {
  if (!c.mid_block) return {};
  return MidBlock(scope, c.block_out_channels.back(), mid_options(c));
}

}  // namespace

TimeProjection::TimeProjection(Scope scope, const UNet2DConfig& c)
    : type(c.time_embedding_type),
      sinusoid{.dim = c.block_out_channels.front(), .flip_sin_to_cos = c.flip_sin_to_cos, .freq_shift = c.freq_shift},
      weight(projection_weight(scope, c)),
      width(projected_width(c)) {}

Var TimeProjection::operator()(const Tensor& timesteps, Dtype dtype) const {
  switch (type) {
    case TimeEmbedding::positional:
      return kernels::timestep_embedding(timesteps, sinusoid).to(dtype);
    case TimeEmbedding::fourier:
      return kernels::fourier_embedding(timesteps, weight.value()).to(dtype);
    case TimeEmbedding::learned:
      return cast(embedding(weight, timesteps), dtype);
  }
  return {};
}

TimestepEmbedding::TimestepEmbedding(Scope scope, int64_t in, int64_t out)
    : linear_1(scope / "linear_1", in, out), linear_2(scope / "linear_2", out, out) {}

Var TimestepEmbedding::operator()(const Var& projected) const { return linear_2(silu(linear_1(projected))); }

UNet2DModel::UNet2DModel(Scope scope, const UNet2DConfig& c)
    : config(c),
      conv_in(scope / "conv_in", c.in_channels, c.block_out_channels.front(), 3),
      time_proj(scope / "time_proj", c),
      time_embedding(scope / "time_embedding", time_proj.width, c.time_embedding_width()),
      class_table(build_class_table(scope / "class_embedding", c)),
      class_embedding(build_class_embedding(scope / "class_embedding", c)),
      down_blocks(build_down_blocks(scope / "down_blocks", c)),
      mid_block(build_mid_block(scope / "mid_block", c)),
      up_blocks(build_up_blocks(scope / "up_blocks", c)),
      conv_norm_out(scope / "conv_norm_out", c.groups_at(c.block_out_channels.front()), c.block_out_channels.front(),
                    c.norm_eps),
      conv_out(scope / "conv_out", c.block_out_channels.front(), c.out_channels, 3) {}

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

Var UNet2DModel::embed(const Tensor& timesteps, const Tensor& labels, Dtype dtype) const {
  const Var time = time_embedding(time_proj(timesteps, dtype));
  return labels ? time + embed_class(labels, dtype) : time;
}

Var UNet2DModel::embed_class(const Tensor& labels, Dtype dtype) const {
  switch (config.class_embedding) {
    case ClassEmbedding::table:
      return cast((*class_table)(labels), dtype);
    case ClassEmbedding::timestep:
      return (*class_embedding)(time_proj(labels, dtype));
    case ClassEmbedding::identity:
      return labels.to(dtype);
    case ClassEmbedding::none:
      break;
  }
  return {};
}

Var UNet2DModel::operator()(const Var& sample, const Tensor& timesteps, const Tensor& labels) const {
  config.check_size(sample.dim(1), sample.dim(2));
  check(timesteps.shape() == Shape{sample.dim(0)}, "unet: timesteps {} for sample {}", describe(timesteps),
        describe(sample.value()));
  check_labels(labels, sample.dim(0));
  const Dtype dtype = conv_in.weight.compute_dtype();
  const Var embedding = embed(timesteps, labels, dtype);
  const Var input = cast(config.center_input_sample ? affine(sample, 2, -1) : sample, dtype);

  // A block is handed its map to keep or drop: held here until the block ends it would stand beside the block's own.
  Skips skips([&] { return conv_in(input, {.moments = true}); });
  Var h = skips.first(), smaller = input, larger;
  for (const DownBlock& block : down_blocks) h = block(std::move(h), embedding, skips, smaller);
  if (mid_block) h = (*mid_block)(h, embedding);
  for (const UpBlock& block : up_blocks) h = block(std::move(h), embedding, skips, larger);
  h = conv_out(conv_norm_out(h, true));
  if (larger.defined()) h = h + larger;
  const Var answer = cast(h, sample.value().dtype());
  if (config.time_embedding_type != TimeEmbedding::fourier) return answer;
  // Networks on noise levels predict the score.
  return answer / Var(timesteps.to(answer.value().dtype()).reshape({sample.dim(0), 1, 1, 1}));
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
