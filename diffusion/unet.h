#pragma once
#include "diffusion/unet_blocks.h"
#include "diffusion/unet_config.h"
#include "kernels/timestep_embedding.h"

namespace stipple {

// What timesteps are to the layers that embed them.
//   positional  sines and cosines of fixed frequencies (kernels/timestep_embedding.h)
//   fourier     the same of random frequencies of log t, which are kept and not trained (kernels/fourier_embedding.h)
//   learned     rows of a table
struct TimeProjection {
  TimeEmbedding type;
  TimestepEmbeddingOptions sinusoid;
  Parameter weight;  // fourier [D], learned [num_train_timesteps, D]
  int64_t width;     // of what comes out

  TimeProjection(Scope, const UNet2DConfig&);
  Var operator()(const Tensor& timesteps, Dtype) const;  // [N] -> [N, width]
};

// Two layers over that.
struct TimestepEmbedding {
  Linear linear_1, linear_2;

  TimestepEmbedding(Scope, int64_t in, int64_t out);
  Var operator()(const Var& projected) const;  // [N, in] -> [N, out]
};

// diffusers' UNet2DModel: predicts, from a noisy image and its time step, what the noise schedule says (noise, clean
// image or velocity). Ronneberger et al. 2015, arXiv:1505.04597, as adapted by Ho et al. 2020, arXiv:2006.11239,
// appendix B.
struct UNet2DModel {
  UNet2DConfig config;
  Conv2d conv_in;
  TimeProjection time_proj;
  TimestepEmbedding time_embedding;
  std::optional<Embedding> class_table;
  std::optional<TimestepEmbedding> class_embedding;
  std::vector<DownBlock> down_blocks;
  std::optional<MidBlock> mid_block;
  std::vector<UpBlock> up_blocks;
  GroupNorm conv_norm_out;
  Conv2d conv_out;

  UNet2DModel(Scope, const UNet2DConfig&);

  // sample [N, H, W, in_channels], timesteps [N] (i64 or f32; i64 where their embedding is learned), labels where the
  // config embeds classes: i64 [N] (a table), [N] like timesteps (timestep) or f32 [N, T] (identity). A missing or
  // superfluous label throws. Everything in between is in what the parameters say (Parameters::compute_in), the answer
  // in the sample's dtype.
  Var operator()(const Var& sample, const Tensor& timesteps, const Tensor& labels = {}) const;

  // Trades time for memory in training: blocks recompute their activations in the backward pass.
  void set_gradient_checkpointing(bool);

 private:
  Var embed(const Tensor& timesteps, const Tensor& labels, Dtype) const;  // [N, T]
  Var embed_class(const Tensor& labels, Dtype) const;
  void check_labels(const Tensor& labels, int64_t batch) const;
};

}  // namespace stipple
