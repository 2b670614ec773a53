#include "tests/op_cases.h"

namespace stipple {
namespace {

struct Dims {
  Shape x;
  int64_t groups;
};

// Groups of 1, 2, 3, 7 and many channels; one group; more than a vector's width; maps of one pixel; tokens and vectors.
const std::vector<Dims> kDims = {{{1, 1, 1, 4}, 2},  {{2, 7, 5, 6}, 3},     {{3, 7, 5, 17}, 17},
                                 {{1, 7, 5, 17}, 1}, {{1, 28, 28, 32}, 8},  {{3, 4, 4, 224}, 32},
                                 {{2, 7, 5, 3}, 1},  {{1, 7, 5, 1}, 1},     {{2, 33, 64}, 32},
                                 {{3, 12}, 4},       {{1, 40, 30, 96}, 32}, {{2, 5, 3, 33}, 11}};

// Two inputs: the second's channels. Groups end at the seam, straddle it, and lie all around it.
struct PairDims {
  Shape x;
  int64_t second, groups;
};
const std::vector<PairDims> kPairs = {{{3, 7, 5, 3}, 3, 2},    {{1, 7, 5, 17}, 3, 4},     {{3, 1, 1, 224}, 96, 32},
                                      {{1, 28, 28, 24}, 8, 4}, {{1, 9, 7, 448}, 224, 32}, {{2, 28, 28, 16}, 48, 32},
                                      {{1, 28, 28, 1}, 2, 1}};

Shape with_channels(const Shape& x, int64_t channels) { return {x[0], x[1], x[2], channels}; }

// The two elements of a group are normalised to -1 and 1 wherever they are: their gradient is a difference of equals.
double tolerance(const Shape& x, int64_t groups) { return x.numel() / (x[0] * groups) <= 2 ? 1e-3 : 2e-6; }

}  // namespace

OP_CASES(group_norm) {
  for (const auto& [x, groups] : kDims)
    for (const bool silu : {false, true})
      add({.name = fmt::format("{} groups{}", groups, silu ? ", silu" : ""),
           .inputs = {normal(x, 0.5, 2), parameter({x[-1]}, 1), parameter({x[-1]})},
           .call = [o = GroupNormOptions{groups, 1e-5, silu}](auto& in) { return group_norm(in[0], in[1], in[2], o); },
           .tolerance = tolerance(x, groups),
           .bytes = 8.0 * x.numel()});
  for (const auto& [x, second, groups] : kPairs)
    add({.name = fmt::format("{} groups over two", groups),
         .inputs = {normal(x, 0.5, 2), normal(with_channels(x, second), -1), parameter({x[-1] + second}, 1),
                    parameter({x[-1] + second})},
         .call =
             [o = GroupNormOptions{groups, 1e-5, true}](auto& in) {
               return group_norm({in[0], in[1]}, in[2], in[3], o);
             },
         .tolerance = 2e-6});
}

TEST_CASE("group_norm of a constant map is its bias", "[ops][group_norm]") {
  const Var x = Tensor::full({1, 4, 4, 4}, 3), gamma = Tensor::full({4}, 2), beta = Tensor::full({4}, 0.25);
  for (const float element : group_norm(x, gamma, beta, {2, 1e-5, false}).value().to_vector<float>())
    CHECK(element == 0.25f);
}

}  // namespace stipple
