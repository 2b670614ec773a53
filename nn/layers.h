#pragma once
#include <optional>

#include "autograd/ops.h"
#include "nn/parameter.h"

// Layers: structs of parameters with an operator(). Names and initialisation are PyTorch's. They compute in the dtype
// of their input: in bf16 with rounded copies of the weights (Parameter::in); biases and norms' parameters stay f32. An
// input that is a Concat may be two, which stand for their concatenation.

namespace stipple {

struct Linear {
  Parameter weight, bias;  // [out, in], [out]

  Linear(Scope, int64_t in, int64_t out);
  Var operator()(const Var& x) const;  // [..., in] -> [..., out]
};

struct Conv2d {
  Parameter weight, bias;  // [out, k, k, in], [out]
  Conv2dOptions options;

  Conv2d(Scope, int64_t in, int64_t out, int64_t kernel, const Conv2dOptions&);
  Conv2d(Scope scope, int64_t in, int64_t out, int64_t kernel)  // stride 1, output as large as the input
      : Conv2d(scope, in, out, kernel, {1, Padding::same(kernel / 2)}) {}
  // [N, H, W, in] -> [N, Ho, Wo, out]; what else is added to the output, the bias is the layer's.
  Var operator()(const Concat<Var>& x, Conv2dEpilogue<Var> = {}) const;
};

struct GroupNorm {
  Parameter weight, bias;  // [channels]
  int64_t groups;
  double eps;

  GroupNorm(Scope, int64_t groups, int64_t channels, double eps = 1e-5);
  Var operator()(const Concat<Var>& x, bool then_silu = false) const;  // [N, ..., channels]
};

struct Embedding {
  Parameter weight;  // [rows, width]

  Embedding(Scope, int64_t rows, int64_t width);
  Var operator()(const Tensor& indices) const;  // i64 [N] -> [N, width]
};

// Attention over the pixels of a map, with its norm and the residual connection. diffusers' Attention with
// AttnProcessor2_0.
struct AttentionOptions {
  int64_t channels;
  int64_t heads, head_width;      // heads * head_width may be less than channels
  std::optional<int64_t> groups;  // of the norm; none: no norm
  double eps = 1e-5;
  double output_scale_factor = 1;
};

struct AttentionBlock {
  std::optional<GroupNorm> norm;
  Linear to_q, to_k, to_v, to_out;
  int64_t heads;
  double output_scale_factor;
  bool checkpointing = false;  // keeps nothing for the backward pass but x

  AttentionBlock(Scope, const AttentionOptions&);
  Var operator()(const Var& x) const;  // [N, H, W, C] -> [N, H, W, C]

 private:
  Var forward(const Var& x) const;
};

}  // namespace stipple
