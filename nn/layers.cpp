#include "nn/layers.h"

#include <cmath>

namespace stipple {
namespace {

// kaiming_uniform_(a = sqrt 5) of PyTorch's reset_parameters: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for the bias too.
Init uniform_fan_in(int64_t fan_in) { return Init::uniform(1 / std::sqrt(static_cast<double>(fan_in))); }

std::string describe(const Concat<Var>& x) {
  return stipple::describe(x.a.value()) + (x.b.defined() ? " and " + stipple::describe(x.b.value()) : "");
}

void check_channels(const char* operation, const Concat<Var>& x, int64_t expected, const Parameter& weight) {
  check(x.a.value().rank() >= 1 && x.channels() == expected, "{}: input has {} channels, {} expects {} (x {})",
        operation, x.channels(), weight.name(), expected, describe(x));
}

}  // namespace

Linear::Linear(Scope scope, int64_t in, int64_t out)
    : weight(scope.parameter("weight", {out, in}, uniform_fan_in(in))),
      bias(scope.parameter("bias", {out}, uniform_fan_in(in))) {}

Var Linear::operator()(const Var& x) const {
  check_channels("linear", x, weight.dim(1), weight);
  const Dtype dtype = x.value().dtype();
  return linear(x, weight.in(dtype), bias.in(dtype));
}

Conv2d::Conv2d(Scope scope, int64_t in, int64_t out, int64_t kernel, const Conv2dOptions& o)
    : weight(
          scope.parameter("weight", {out, kernel, kernel, in}, uniform_fan_in(in * kernel * kernel), FileLayout::oihw)),
      bias(scope.parameter("bias", {out}, uniform_fan_in(in * kernel * kernel))),
      options(o) {}

Var Conv2d::operator()(const Concat<Var>& x, Conv2dEpilogue<Var> epilogue) const {
  check_channels("conv2d", x, weight.dim(3), weight);
  epilogue.bias = bias;
  return conv2d(x, weight.in(x.a.value().dtype()), epilogue, options);
}

GroupNorm::GroupNorm(Scope scope, int64_t group_count, int64_t channels, double epsilon)
    : weight(scope.parameter("weight", {channels}, Init::constant(1))),
      bias(scope.parameter("bias", {channels}, Init::constant(0))),
      groups(group_count),
      eps(epsilon) {
  check(groups >= 1 && channels % groups == 0, "group_norm: {} channels of {} do not divide into {} groups", channels,
        weight.name(), groups);
}

Var GroupNorm::operator()(const Concat<Var>& x, bool then_silu) const {
  check_channels("group_norm", x, weight.dim(0), weight);
  return group_norm(x, weight, bias, {groups, eps, then_silu});
}

Embedding::Embedding(Scope scope, int64_t rows, int64_t width)
    : weight(scope.parameter("weight", {rows, width}, Init::normal(1))) {}

Var Embedding::operator()(const Tensor& indices) const { return embedding(weight, indices); }

AttentionBlock::AttentionBlock(Scope scope, const AttentionOptions& o)
    : norm(o.groups ? std::optional<GroupNorm>(std::in_place, scope / "group_norm", *o.groups, o.channels, o.eps)
                    : std::nullopt),
      to_q(scope / "to_q", o.channels, o.heads * o.head_width),
      to_k(scope / "to_k", o.channels, o.heads * o.head_width),
      to_v(scope / "to_v", o.channels, o.heads * o.head_width),
      to_out(scope / "to_out" / 0, o.heads * o.head_width, o.channels),
      heads(o.heads),
      output_scale_factor(o.output_scale_factor) {
  // As diffusers' AttentionBlock called them (models/modeling_utils.py maps them, too).
  scope.renamed("query", "to_q");
  scope.renamed("key", "to_k");
  scope.renamed("value", "to_v");
  scope.renamed("proj_attn", "to_out.0");
}

Var AttentionBlock::operator()(const Var& x) const {
  return checkpointing ? checkpoint([this, x] { return forward(x); }) : forward(x);
}

Var AttentionBlock::forward(const Var& x) const {
  const Var normed = norm ? (*norm)(x) : x;
  const Var tokens = reshape(normed, {x.dim(0), x.dim(1) * x.dim(2), x.dim(3)});
  const Var mixed = attention(to_q(tokens), to_k(tokens), to_v(tokens), heads);
  const Var y = x + reshape(to_out(mixed), x.shape());
  return output_scale_factor == 1 ? y : y / output_scale_factor;
}

}  // namespace stipple
