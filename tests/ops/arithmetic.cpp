#include "kernels/arithmetic.h"

#include "tests/op_cases.h"

namespace stipple {
namespace {

struct ShapePair {
  Shape a, b;
};

// Equal, stretched on either side, in the middle, in two places, on both sides at once.
const std::vector<ShapePair> kShapes = {
    {{}, {}},
    {{1}, {}},
    {{2, 7, 5, 3}, {2, 7, 5, 3}},
    {{2, 7, 5, 3}, {3}},
    {{17}, {3, 1, 1, 17}},
    {{3, 7, 5, 17}, {3, 1, 1, 17}},
    {{3, 1, 1, 17}, {3, 7, 5, 17}},
    {{2, 7, 5, 3}, {}},
    {{2, 7, 1, 3}, {7, 5, 1}},
    {{2, 1, 5, 1}, {1, 7, 1, 3}},
    {{4, 5}, {4, 1}},
    {{3, 32, 32, 33}, {3, 32, 32, 33}},
};

}  // namespace

OP_CASES(add) {
  for (const auto& [a, b] : kShapes)
    add({.inputs = {normal(a), normal(b)},
         .call = [](auto& in) { return in[0] + in[1]; },
         .bytes = 4.0 * (a.numel() + b.numel() + broadcast_shape(a, b).numel())});
}

OP_CASES(subtract) {
  for (const auto& [a, b] : kShapes)
    add({.inputs = {normal(a), normal(b)}, .call = [](auto& in) { return in[0] - in[1]; }});
}

OP_CASES(multiply) {
  for (const auto& [a, b] : kShapes)
    add({.inputs = {normal(a), normal(b)}, .call = [](auto& in) { return in[0] * in[1]; }});
}

OP_CASES(divide) {
  for (const auto& [a, b] : kShapes)
    add({.inputs = {normal(a), normal(b, 2, 0.2)}, .call = [](auto& in) { return in[0] / in[1]; }});
}

OP_CASES(affine) {
  for (const Shape& shape : {Shape{}, {17}, {2, 7, 5, 3}, {1, 64, 64, 33}}) {
    add({.inputs = {normal(shape)}, .call = [](auto& in) { return affine(in[0], -1.7, 0.3); }});
    add({.name = "identity", .inputs = {normal(shape)}, .call = [](auto& in) { return affine(in[0], 1, 0); }});
    add({.name = "operators", .inputs = {normal(shape)}, .call = [](auto& in) {
           return -(2.5 * (in[0] * 3.0 - 1.0) + 0.5) / 7.0;
         }});
  }
}

OP_CASES(sum) {
  for (const Shape& shape : {Shape{}, {1}, {17}, {2, 7, 5, 3}, {1, 64, 64, 33}}) {
    add({.inputs = {normal(shape, 1)}, .call = [](auto& in) { return sum(in[0]); }});
    add({.name = "mean", .inputs = {normal(shape, 1)}, .call = [](auto& in) { return mean(in[0]); }});
  }
}

OP_CASES(clamp) {
  for (const Shape& shape : {Shape{}, {17}, {2, 7, 5, 3}, {1, 64, 64, 33}})
    add({.inputs = {normal(shape)}, .call = [](auto& in) { return clamp(in[0], -0.6, 1.1); }});
}

TEST_CASE("clamp lets the gradient pass at its borders, as PyTorch's does", "[ops][clamp]") {
  const Var x = leaf(Tensor::of<float>({5}, std::vector<float>{-2, -1, 0, 1, 2}));
  const auto gradient = grad(clamp(x, -1, 1), {x})[0].to_vector<float>();
  CHECK(gradient == std::vector<float>{0, 1, 1, 1, 0});
}

}  // namespace stipple
