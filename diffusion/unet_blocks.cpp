#include "diffusion/unet_blocks.h"

namespace stipple {
namespace {

Var resampled(Resample kind, const Var& x) {
  switch (kind) {
    case Resample::up: return upsample_nearest(x);
    case Resample::down: return avg_pool2d(x, 2);
    case Resample::none: break;
  }
  return x;
}

// A vector for each image, as a map of one pixel.
Var as_map(const Var& v) { return reshape(v, {v.dim(0), 1, 1, v.dim(1)}); }

Conv2dOptions downsampling(int64_t padding) {
  return {2, padding == 0 ? Padding{.top = 0, .bottom = 1, .left = 0, .right = 1} : Padding::same(padding)};
}

}  // namespace

ResnetBlock::ResnetBlock(Scope scope, int64_t in, int64_t out, const ResnetOptions& o, Resample kind)
    : norm1(scope / "norm1", o.groups, in, o.eps),
      conv1(scope / "conv1", in, out, 3),
      time_emb_proj(scope / "time_emb_proj", o.time_embedding_width, o.scale_shift ? 2 * out : out),
      norm2(scope / "norm2", o.groups, out, o.eps),
      conv2(scope / "conv2", out, out, 3),
      options(o),
      resample(kind) {
  if (in != out) conv_shortcut.emplace(scope / "conv_shortcut", in, out, 1);
}

Var ResnetBlock::normed(const GroupNorm& norm, const Var& x) const {
  const bool fused = options.act_fn == Activation::silu;
  return fused ? norm(x, true) : activation(options.act_fn, norm(x));
}

Var ResnetBlock::operator()(const Var& x, const Var& embedding) const {
  return checkpointing ? checkpoint([this, x, embedding] { return forward(x, embedding); }) : forward(x, embedding);
}

Var ResnetBlock::forward(const Var& x, const Var& embedding) const {
  Var h = conv1(resampled(resample, normed(norm1, x)));
  const Var time = as_map(time_emb_proj(activation(options.act_fn, embedding)));
  if (options.scale_shift) {
    const auto [scale, shift] = split_channels(time, h.dim(3));
    h = activation(options.act_fn, norm2(h) * (scale + 1.0) + shift);
  } else {
    h = normed(norm2, h + time);
  }
  h = conv2(h);
  const Var shortcut = resampled(resample, x);
  const Var y = (conv_shortcut ? (*conv_shortcut)(shortcut) : shortcut) + h;
  return options.output_scale_factor == 1 ? y : y / options.output_scale_factor;
}

DownBlock::DownBlock(Scope scope, int64_t in, int64_t out, int64_t layers, const BlockOptions& o) {
  for (int64_t i = 0; i < layers; ++i) {
    resnets.emplace_back(scope / "resnets" / i, i == 0 ? in : out, out, o.resnet);
    if (o.attention) attentions.emplace_back(scope / "attentions" / i, *o.attention);
  }
  if (!o.resample) return;
  const Scope down = scope / "downsamplers" / 0;
  if (o.resample_by_resnet) downsample_resnet.emplace(down, out, out, o.resnet, Resample::down);
  else downsample_conv.emplace(down / "conv", out, out, 3, downsampling(o.downsample_padding));
}

Var DownBlock::operator()(Var x, const Var& embedding, std::vector<Var>& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](x, embedding);
    if (!attentions.empty()) x = attentions[i](x);
    skips.push_back(x);
  }
  if (downsample_conv) x = (*downsample_conv)(x);
  else if (downsample_resnet) x = (*downsample_resnet)(x, embedding);
  else return x;
  skips.push_back(x);
  return x;
}

MidBlock::MidBlock(Scope scope, int64_t channels, const BlockOptions& o)
    : resnet0(scope / "resnets" / 0, channels, channels, o.resnet),
      attention(o.attention ? std::optional<AttentionBlock>(std::in_place, scope / "attentions" / 0, *o.attention)
                            : std::nullopt),
      resnet1(scope / "resnets" / 1, channels, channels, o.resnet) {}

Var MidBlock::operator()(const Var& x, const Var& embedding) const {
  const Var h = resnet0(x, embedding);
  return resnet1(attention ? (*attention)(h) : h, embedding);
}

UpBlock::UpBlock(Scope scope, int64_t in, int64_t previous, int64_t out, int64_t layers, const BlockOptions& o) {
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t hidden = i == 0 ? previous : out, skip = i == layers - 1 ? in : out;
    resnets.emplace_back(scope / "resnets" / i, hidden + skip, out, o.resnet);
    if (o.attention) attentions.emplace_back(scope / "attentions" / i, *o.attention);
  }
  if (!o.resample) return;
  const Scope up = scope / "upsamplers" / 0;
  if (o.resample_by_resnet) upsample_resnet.emplace(up, out, out, o.resnet, Resample::up);
  else upsample_conv.emplace(up / "conv", out, out, 3);
}

Var UpBlock::operator()(Var x, const Var& embedding, std::vector<Var>& skips) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = concat_channels(x, skips.back());
    skips.pop_back();
    x = resnets[i](x, embedding);
    if (!attentions.empty()) x = attentions[i](x);
  }
  if (upsample_conv) return (*upsample_conv)(upsample_nearest(x));
  return upsample_resnet ? (*upsample_resnet)(x, embedding) : x;
}

}  // namespace stipple
