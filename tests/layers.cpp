#include "nn/layers.h"

#include "autograd/gradient_check.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace stipple {
namespace {

Tensor drawn(const Shape& shape, uint64_t seed = 0) {
  PhiloxGenerator generator(seed);
  return normal(generator, shape);
}

void allocate(Parameters& parameters, Dtype dtype = Dtype::f32) {
  parameters.allocate(dtype);
  PhiloxGenerator generator(1);
  parameters.initialize(generator);
}

double largest(const Tensor& x) {
  double most = 0;
  for (const float v : x.to_vector<float>()) most = std::max<double>(most, std::abs(v));
  return most;
}

}  // namespace

TEST_CASE("layers start as PyTorch's do: uniform within 1 / sqrt(fan in), norms at one", "[layers]") {
  Parameters parameters;
  const Conv2d conv(Scope(parameters) / "conv", 8, 16, 3);
  const Linear linear(Scope(parameters) / "linear", 100, 50);
  const GroupNorm norm(Scope(parameters) / "norm", 4, 8);
  const Embedding embedding(Scope(parameters) / "embedding", 100, 50);
  allocate(parameters);
  CHECK(largest(conv.weight.value()) == Approx(1 / std::sqrt(72.0)).epsilon(0.01));
  CHECK(largest(conv.bias.value()) <= 1 / std::sqrt(72.0));
  CHECK(largest(linear.weight.value()) == Approx(0.1).epsilon(0.01));
  CHECK(norm.weight.value().to_vector<float>() == std::vector<float>(8, 1));
  CHECK(norm.bias.value().to_vector<float>() == std::vector<float>(8, 0));
  CHECK(largest(embedding.weight.value()) > 3);
}

TEST_CASE("layers say which parameter does not fit the input", "[layers]") {
  Parameters parameters;
  const Scope scope = Scope(parameters) / "block";
  const Conv2d conv(scope / "conv1", 8, 16, 3);
  const Linear linear(scope / "proj", 8, 16);
  const GroupNorm norm(scope / "norm1", 4, 8);
  CHECK_THROWS_WITH(GroupNorm(scope / "norm2", 3, 8), Contains("block.norm2.weight") && Contains("3 groups"));
  allocate(parameters);
  const Var x = Tensor::zeros({1, 4, 4, 5});
  CHECK_THROWS_WITH(conv(x), Contains("block.conv1.weight") && Contains("5 channels") && Contains("f32[1,4,4,5]"));
  CHECK_THROWS_WITH(linear(x), Contains("block.proj.weight"));
  CHECK_THROWS_WITH(norm(x), Contains("block.norm1.weight"));
}

TEST_CASE("a convolution without options keeps the size of its input", "[layers]") {
  Parameters parameters;
  const Conv2d same(Scope(parameters) / "same", 3, 4, 5);
  const Conv2d half(Scope(parameters) / "half", 3, 4, 3, {2, {0, 1, 0, 1}});
  allocate(parameters);
  CHECK(same(drawn({1, 7, 5, 3})).shape() == Shape{1, 7, 5, 4});
  CHECK(half(drawn({1, 8, 6, 3})).shape() == Shape{1, 4, 3, 4});
}

TEST_CASE("the attention block has the gradients of what it computes, for every parameter", "[layers]") {
  for (const auto& [groups, scale] : std::vector<std::pair<std::optional<int64_t>, double>>{{2, 1}, {{}, 1.5}}) {
    Parameters parameters;
    const AttentionBlock block(Scope(parameters) / "attention", {.channels = 8,
                                                                 .heads = 2,
                                                                 .head_width = 3,  // 6 of the 8 channels
                                                                 .groups = groups,
                                                                 .output_scale_factor = scale});
    allocate(parameters, Dtype::f64);
    parameters.require_gradients(true);
    const Var x = leaf(drawn({2, 3, 2, 8}).to(Dtype::f64));
    std::vector<Tensor> values = {x.value()};
    for (const Parameter& p : parameters.all()) values.push_back(p.value());
    // The block reads its own parameters: the check moves copies, and a call puts them in place.
    const auto call = [&](const std::vector<Var>& in) {
      for (size_t i = 1; i < in.size(); ++i) parameters.all()[i - 1].value().copy_from(in[i].value());
      if (!recording()) return block(in[0]);
      std::vector<Var> leaves = {in[0]};
      const Var y = block(in[0]);
      leaves.insert(leaves.end(), parameters.all().begin(), parameters.all().end());
      return record("attention_block", y.value(), in, [y, leaves](const Tensor& dy, Destinations& to) {
        const std::vector<Tensor> gradients = grad(y, leaves, dy);
        for (size_t i = 0; i < gradients.size(); ++i) to.set(i, gradients[i]);
      });
    };
    gradient_check(call, values);
  }
}

TEST_CASE("a checkpointed attention block has the same result and gradients", "[layers]") {
  Parameters parameters;
  AttentionBlock block(Scope(parameters) / "attention", {.channels = 8, .heads = 2, .head_width = 4, .groups = 2});
  allocate(parameters);
  parameters.require_gradients(true);
  const Var x = leaf(drawn({1, 4, 4, 8}));
  const auto run = [&](bool checkpointing) {
    block.checkpointing = checkpointing;
    parameters.clear_gradients();
    const Var y = block(x);
    backward(y, drawn(y.shape(), 3));
    return std::pair(y.value(), parameters.gradients().clone());
  };
  const auto [y, gradients] = run(false);
  const auto [again, same_gradients] = run(true);
  CHECK(same_bits(y, again));
  CHECK(relative_error(same_gradients, gradients) < 1e-6);
}

}  // namespace stipple
