#include "diffusion/unet_blocks.h"

#include <algorithm>
#include <utility>

namespace stipple {
namespace {

constexpr int64_t kPictureChannels = 3;  // of Skip blocks

Var resampled(Resample kind, const Var& x) {
  switch (kind) {
    case Resample::up:
      return upsample_nearest(x);
    case Resample::down:
      return avg_pool2d(x, 2);
    case Resample::fir_up:
      return fir_upsample(x);
    case Resample::fir_down:
      return fir_downsample(x);
    case Resample::none:
      break;
  }
  return x;
}

// A vector for each image, as a map of one pixel.
Var as_map(const Var& v) { return reshape(v, {v.dim(0), 1, 1, v.dim(1)}); }

Conv2dOptions downsampling(int64_t padding) {
  return {2, padding == 0 ? Padding{.top = 0, .bottom = 1, .left = 0, .right = 1} : Padding::same(padding)};
}

// The groups of Skip blocks follow from their widths.
int64_t skip_groups(int64_t channels) { return std::min<int64_t>(channels / 4, 32); }

ResnetOptions skip_options(ResnetOptions o, int64_t groups, int64_t out) {
  o.groups = groups;
  o.groups_out = skip_groups(out);
  return o;
}

}  // namespace

ResnetBlock::ResnetBlock(Scope scope, int64_t in, int64_t out, const ResnetOptions& o, Resample kind)
    : norm1(scope / "norm1", o.groups, in, o.eps),
      conv1(scope / "conv1", in, out, 3, {1, Padding::same(1), kind == Resample::up}),
      time_emb_proj(scope / "time_emb_proj", o.time_embedding_width, o.scale_shift ? 2 * out : out),
      norm2(scope / "norm2", o.groups_out, out, o.eps),
      conv2(scope / "conv2", out, out, 3),
      options(o),
      resample(kind) {
  const bool fir = kind == Resample::fir_up || kind == Resample::fir_down;
  if (in != out || fir) conv_shortcut.emplace(scope / "conv_shortcut", in, out, 1);
}

Var ResnetBlock::normed(const GroupNorm& norm, const Concat<Var>& x) const {
  const bool fused = options.act_fn == Activation::silu;
  return fused ? norm(x, true) : activation(options.act_fn, norm(x));
}

// A concatenation is made only where somebody else than a 1x1 filter takes it.
Var ResnetBlock::shortcut(const Concat<Var>& x) const {
  if (conv_shortcut && resample == Resample::none) return (*conv_shortcut)(x);
  const Var whole = resampled(resample, x.b.defined() ? concat_channels(x.a, x.b) : x.a);
  return conv_shortcut ? (*conv_shortcut)(whole) : whole;
}

Var ResnetBlock::operator()(Concat<Var> x, const Var& embedding) const {
  if (checkpointing) return checkpoint([this, x, embedding] { return forward(x, embedding); });
  return forward(std::move(x), embedding);
}

// While nothing is recorded, a map dies with the line that reads it last: what is alive here, at the network's full
// resolution, is most of the memory that drawing a picture takes.
Var ResnetBlock::forward(Concat<Var> x, const Var& embedding) const {
  const Var time = time_emb_proj(activation(options.act_fn, embedding));
  Var h = normed(norm1, x);
  if (resample != Resample::up) h = resampled(resample, h);  // conv1 folds that in
  if (options.scale_shift) {
    h = conv1(h, {.moments = true});
    const auto [scale, shift] = split_channels(as_map(time), h.dim(3));
    h = activation(options.act_fn, norm2(h) * (scale + 1.0) + shift);
  } else {
    h = conv1(h, {.time_embedding = time, .moments = true});
    h = normed(norm2, h);
  }
  const Var residual = shortcut(std::exchange(x, {}));
  return conv2(dropout(h, options.dropout),
               {.residual = residual, .output_scale_factor = options.output_scale_factor, .moments = true});
}

Var Skips::first() {
  const Var map = make_first_();
  if (map.requires_grad()) push(map);
  return map;
}

Var Skips::pop() {
  if (kept_.empty()) return make_first_();
  Var map = std::move(kept_.back());
  kept_.pop_back();
  return map;
}

DownBlock::DownBlock(Scope scope, int64_t in, int64_t out, int64_t layers, const BlockOptions& o) {
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t from = i == 0 ? in : out;
    resnets.emplace_back(scope / "resnets" / i, from, out,
                         o.skip ? skip_options(o.resnet, skip_groups(from), out) : o.resnet);
    if (o.attention) attentions.emplace_back(scope / "attentions" / i, *o.attention);
  }
  if (!o.resample) return;
  if (o.skip) {
    downsample_resnet.emplace(scope / "resnet_down", out, out, skip_options(o.resnet, skip_groups(out), out),
                              Resample::fir_down);
    skip_conv.emplace(scope / "skip_conv", kPictureChannels, out, 1);
    return;
  }
  const Scope down = scope / "downsamplers" / 0;
  if (o.resample_by_resnet)
    downsample_resnet.emplace(down, out, out, o.resnet, Resample::down);
  else
    downsample_conv.emplace(down / "conv", out, out, 3, downsampling(o.downsample_padding));
}

Var DownBlock::operator()(Var x, const Var& embedding, Skips& skips, Var& picture) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i](std::move(x), embedding);
    if (!attentions.empty()) x = attentions[i](x);
    skips.push(x);
  }
  if (!downsample_conv && !downsample_resnet) return x;
  x = downsample(x, embedding, picture);
  skips.push(x);
  return x;
}

Var DownBlock::downsample(const Var& x, const Var& embedding, Var& picture) const {
  if (downsample_conv) return (*downsample_conv)(x, {.moments = true});
  const Var h = (*downsample_resnet)(x, embedding);
  if (!skip_conv) return h;
  picture = fir_downsample(picture);
  return (*skip_conv)(picture) + h;
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

UpBlock::UpBlock(Scope scope, int64_t in, int64_t previous, int64_t out, int64_t layers, const BlockOptions& o)
    : skip(o.skip) {
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t hidden = i == 0 ? previous : out, joined = i == layers - 1 ? in : out;
    // diffusers' AttnSkipUpBlock2D divides one of the two widths only; checkpoints rely on it.
    const int64_t groups = o.attention ? std::min<int64_t>(hidden + joined / 4, 32) : skip_groups(hidden + joined);
    resnets.emplace_back(scope / "resnets" / i, hidden + joined, out,
                         skip ? skip_options(o.resnet, groups, out) : o.resnet);
    if (o.attention && !skip) attentions.emplace_back(scope / "attentions" / i, *o.attention);
  }
  if (o.attention && skip) attentions.emplace_back(scope / "attentions" / 0, *o.attention);
  if (!o.resample) return;
  if (skip) {
    upsample_resnet.emplace(scope / "resnet_up", out, out, skip_options(o.resnet, skip_groups(out), out),
                            Resample::fir_up);
    skip_conv.emplace(scope / "skip_conv", out, kPictureChannels, 3);
    skip_norm.emplace(scope / "skip_norm", skip_groups(out), out, o.resnet.eps);
    return;
  }
  const Scope up = scope / "upsamplers" / 0;
  if (o.resample_by_resnet)
    upsample_resnet.emplace(up, out, out, o.resnet, Resample::up);
  else
    upsample_conv.emplace(up / "conv", out, out, 3, Conv2dOptions{1, Padding::same(1), true});
}

Var UpBlock::operator()(Var x, const Var& embedding, Skips& skips, Var& picture) const {
  for (size_t i = 0; i < resnets.size(); ++i) {
    x = resnets[i]({std::move(x), skips.pop()}, embedding);
    if (!skip && !attentions.empty()) x = attentions[i](x);
  }
  if (!skip) return upsample(x, embedding);
  if (!attentions.empty()) x = attentions.front()(x);  // a Skip block's only one
  picture = grown(picture, x);
  return upsample(x, embedding);
}

Var UpBlock::upsample(const Var& x, const Var& embedding) const {
  if (upsample_conv) return (*upsample_conv)(x);
  return upsample_resnet ? (*upsample_resnet)(x, embedding) : x;
}

// Twice as large, with what this level's maps x add to it; the last level adds nothing.
Var UpBlock::grown(const Var& picture, const Var& x) const {
  const Var larger = picture.defined() ? fir_upsample(picture) : picture;
  if (!skip_conv) return larger;
  const Var own = (*skip_conv)((*skip_norm)(x, true));
  return larger.defined() ? larger + own : own;
}

}  // namespace stipple
