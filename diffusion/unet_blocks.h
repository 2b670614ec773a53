#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "nn/layers.h"

// The blocks of diffusers' UNet2DModel (models/unets/unet_2d_blocks.py, models/resnet.py), with its parameter names.
// Members stand in the order in which PyTorch constructs them: initialisation draws in that order.

namespace stipple {

// What all ResNet blocks of a network share.
struct ResnetOptions {
  int64_t time_embedding_width = 0;
  int64_t groups = 32, groups_out = 32;  // of the first and the second norm
  double eps = 1e-5;
  Activation act_fn = Activation::silu;
  bool scale_shift = false;  // the time embedding scales and shifts; otherwise it is added
  double dropout = 0;
  double output_scale_factor = 1;
};

enum class Resample { none, up, down, fir_up, fir_down };  // nearest x2, means of 2x2 squares; smooth (fir_resample.h)

struct ResnetBlock {
  GroupNorm norm1;
  Conv2d conv1;
  Linear time_emb_proj;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv2d> conv_shortcut;
  ResnetOptions options;
  Resample resample;
  bool checkpointing = false;  // keeps nothing for the backward pass but its inputs

  ResnetBlock(Scope, int64_t in, int64_t out, const ResnetOptions&, Resample = Resample::none);
  // [N, H, W, in], which may be two that stand for their concatenation, and [N, T] -> [N, H', W', out]
  Var operator()(Concat<Var> x, const Var& embedding) const;

 private:
  Var forward(Concat<Var> x, const Var& embedding) const;
  Var normed(const GroupNorm&, const Concat<Var>& x) const;  // then the activation
  Var shortcut(const Concat<Var>& x) const;
};

// The maps that go from the way down to the way up, the last one first. The first of all waits longest, at the
// network's full resolution, and costs least: where no gradient keeps it anyway, it is not kept but made again.
class Skips {
 public:
  explicit Skips(std::function<Var()> make_first) : make_first_(std::move(make_first)) {}
  Var first();
  void push(Var map) { kept_.push_back(std::move(map)); }
  Var pop();

 private:
  std::function<Var()> make_first_;
  std::vector<Var> kept_;
};

// How one level of the network is made: Attn, Resnet, Skip and plain blocks differ in these answers only.
//
// Skip blocks are those of NCSN++ (Song et al. 2021, arXiv:2011.13456, appendix H): beside the network's maps goes a
// picture. On the way down the input, ever smaller, is added to the maps (through skip_conv); on the way up every level
// adds its own to a picture that grows to be added to the output.
struct BlockOptions {
  ResnetOptions resnet{};
  std::optional<AttentionOptions> attention;  // after each ResNet; channels and heads are the block's
  bool resample = false;                      // all but the last level
  bool resample_by_resnet = false;
  bool skip = false;
  int64_t downsample_padding = 1;  // 0: one row and column at the bottom and right only
};

struct DownBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<AttentionBlock> attentions;
  std::optional<Conv2d> downsample_conv;
  std::optional<ResnetBlock> downsample_resnet;
  std::optional<Conv2d> skip_conv;

  DownBlock(Scope, int64_t in, int64_t out, int64_t layers, const BlockOptions&);
  // Pushes every result to skips.
  Var operator()(Var x, const Var& embedding, Skips& skips, Var& picture) const;

 private:
  Var downsample(const Var& x, const Var& embedding, Var& picture) const;
};

struct MidBlock {
  ResnetBlock resnet0;
  std::optional<AttentionBlock> attention;
  ResnetBlock resnet1;

  MidBlock(Scope, int64_t channels, const BlockOptions&);
  Var operator()(const Var& x, const Var& embedding) const;
};

struct UpBlock {
  std::vector<ResnetBlock> resnets;
  std::vector<AttentionBlock> attentions;
  std::optional<Conv2d> upsample_conv;
  std::optional<ResnetBlock> upsample_resnet;
  std::optional<Conv2d> skip_conv;
  std::optional<GroupNorm> skip_norm;
  bool skip;

  // previous: channels that come from below; in: channels of the last skip, out: of the others and of the result.
  UpBlock(Scope, int64_t in, int64_t previous, int64_t out, int64_t layers, const BlockOptions&);
  // The picture is undefined until a Skip block begins one.
  Var operator()(Var x, const Var& embedding, Skips& skips, Var& picture) const;

 private:
  Var upsample(const Var& x, const Var& embedding) const;
  Var grown(const Var& picture, const Var& x) const;
};

}  // namespace stipple
