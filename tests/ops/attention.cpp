#include "tests/op_cases.h"

namespace stipple {
namespace {

struct Dims {
  int64_t n, queries, keys, heads, width;
};

const std::vector<Dims> kDims = {{1, 1, 1, 1, 1},  {1, 4, 4, 1, 8},    {2, 5, 5, 3, 17},  {3, 7, 7, 8, 3},
                                 {1, 16, 3, 1, 8}, {2, 3, 17, 3, 5},   {1, 49, 49, 8, 1}, {1, 65, 64, 1, 32},
                                 {2, 1, 33, 8, 4}, {1, 130, 70, 2, 64}};

}  // namespace

OP_CASES(attention) {
  for (const auto& [n, queries, keys, heads, width] : kDims)
    add({.name = std::to_string(heads) + " heads",
         .inputs = {normal({n, queries, heads * width}), normal({n, keys, heads * width}),
                    normal({n, keys, heads * width})},
         .call = [heads = heads](auto& in) { return attention(in[0], in[1], in[2], heads); },
         .flop = 4.0 * n * heads * queries * keys * width});
}

OP_CASES(self_attention) {
  add({.name = "the same q, k and v", .inputs = {normal({2, 7, 12})}, .call = [](auto& in) {
         return attention(in[0], in[0], in[0], 3);
       }});
}

TEST_CASE("attention survives scores that overflow an exponential", "[ops][attention]") {
  const Var q = leaf(Tensor::full({1, 2, 4}, 100)), k = leaf(Tensor::full({1, 3, 4}, 100));
  const Var v = leaf(Tensor::full({1, 3, 4}, 0.5));
  const Var y = attention(q, k, v, 1);
  for (const float element : y.value().to_vector<float>()) CHECK(element == Approx(0.5));
  for (const Tensor& gradient : grad(y, {q, k, v}))
    for (const float element : gradient.to_vector<float>()) CHECK(std::isfinite(element));
}

}  // namespace stipple
