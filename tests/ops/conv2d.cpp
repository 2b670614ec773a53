#include "tests/compare.h"
#include "tests/op_cases.h"

namespace stipple {
namespace {

struct Dims {
  int64_t n, h, w, in, out, kernel, stride;
  Padding padding;
};

const std::vector<Dims> kDims = {
    // 1x1
    {1, 1, 1, 1, 1, 1, 1, {}},
    {3, 7, 5, 3, 17, 1, 1, {}},
    {1, 16, 16, 33, 64, 1, 1, {}},
    {2, 7, 5, 3, 4, 1, 2, {}},
    // 3x3
    {1, 1, 1, 3, 17, 3, 1, Padding::same(1)},
    {1, 7, 5, 1, 1, 3, 1, Padding::same(1)},
    {3, 7, 5, 3, 17, 3, 1, Padding::same(1)},
    {1, 8, 8, 17, 3, 3, 1, Padding::same(1)},
    {1, 7, 5, 3, 4, 3, 1, {}},
    {2, 16, 16, 32, 32, 3, 1, Padding::same(1)},
    {1, 28, 28, 16, 48, 3, 1, Padding::same(1)},
    // 3x3 of so many pixels that Winograd's algorithm pays
    {8, 32, 32, 16, 16, 3, 1, Padding::same(1)},
    {9, 31, 29, 17, 19, 3, 1, Padding::same(1)},
    // 3x3 with stride 2: symmetric, and one row and column at the far side (diffusers' Downsample2D with padding 0)
    {3, 7, 5, 3, 17, 3, 2, Padding::same(1)},
    {3, 7, 5, 17, 3, 3, 2, {0, 1, 0, 1}},
    {1, 8, 8, 16, 16, 3, 2, {0, 1, 0, 1}},
    {1, 2, 2, 3, 3, 3, 2, {0, 1, 0, 1}},
    // 5x5 and every side its own
    {1, 7, 5, 3, 4, 5, 1, Padding::same(2)},
    {3, 1, 1, 1, 3, 5, 1, Padding::same(2)},
    {1, 9, 8, 3, 5, 5, 2, Padding::same(2)},
    {2, 7, 5, 3, 4, 3, 1, {2, 0, 0, 1}},
    {2, 6, 5, 3, 4, 3, 2, {1, 0, 2, 1}},
};

// Of these, with all that can be added to the sums.
const std::vector<Dims> kWithMore = {
    {3, 7, 5, 3, 17, 1, 1, {}},
    {2, 16, 16, 32, 32, 3, 1, Padding::same(1)},
    {9, 31, 29, 17, 19, 3, 1, Padding::same(1)},
    {3, 7, 5, 17, 3, 3, 2, {0, 1, 0, 1}},
};

// Of maps that are made twice as large first.
const std::vector<Dims> kUpsampled = {
    {1, 1, 1, 3, 17, 3, 1, Padding::same(1)},    {3, 7, 5, 3, 17, 3, 1, Padding::same(1)},
    {1, 7, 5, 17, 1, 3, 1, Padding::same(1)},    {2, 5, 6, 32, 48, 3, 1, Padding::same(1)},
    {1, 14, 14, 16, 32, 3, 1, Padding::same(1)}, {1, 2, 3, 224, 32, 3, 1, Padding::same(1)},
    {2, 3, 4, 3, 5, 3, 1, {2, 0, 0, 1}},         {2, 7, 5, 3, 4, 1, 1, {}},
    {1, 5, 3, 3, 4, 5, 1, Padding::same(2)},     {1, 4, 3, 32, 8, 2, 1, {0, 1, 0, 1}},
};

// Of two inputs, the second of so many channels.
struct PairDims {
  Dims first;
  int64_t second;
  bool upsample = false;
};
const std::vector<PairDims> kPairs = {
    {{3, 7, 5, 3, 4, 1, 1, {}}, 17},
    {{1, 28, 28, 24, 16, 1, 1, {}}, 8},
    {{3, 1, 1, 224, 32, 1, 1, {}}, 96},
    {{2, 13, 11, 40, 72, 1, 1, {}}, 24},
    {{2, 6, 5, 16, 8, 1, 2, {}}, 32},
    {{1, 7, 5, 1, 3, 3, 1, Padding::same(1)}, 2},
    {{2, 6, 5, 32, 24, 3, 1, Padding::same(1)}, 16},
    {{1, 7, 5, 16, 8, 3, 2, Padding::same(1)}, 8},
    {{1, 3, 4, 8, 16, 3, 1, Padding::same(1)}, 24, true},
};

// Winograd's transforms cost half a digit, above all in the weight gradient.
double tolerance(const Dims& d) { return d.n * d.h * d.w > 8000 ? 4e-6 : 1e-6; }

std::string describe(const Dims& d) {
  return fmt::format("stride {}, padding {} {} {} {}", d.stride, d.padding.top, d.padding.bottom, d.padding.left,
                     d.padding.right);
}

}  // namespace

OP_CASES(conv2d) {
  for (const Dims& d : kDims) {
    const Shape x{d.n, d.h, d.w, d.in}, weight{d.out, d.kernel, d.kernel, d.in};
    const Conv2dOptions o{d.stride, d.padding};
    const double flop = 2.0 * conv2d_shape(x, weight, o).numel() * d.kernel * d.kernel * d.in;
    add({.name = describe(d),
         .inputs = {normal(x), normal(weight), parameter({d.out})},
         .call = [=](auto& in) { return conv2d(in[0], in[1], {in[2]}, o); },
         .tolerance = tolerance(d),
         .flop = flop});
    add({.name = describe(d) + ", no bias",
         .inputs = {normal(x), normal(weight)},
         .call = [=](auto& in) { return conv2d(in[0], in[1], {}, o); },
         .tolerance = tolerance(d),
         .flop = flop});
  }
  for (const Dims& d : kWithMore) {
    const Conv2dOptions o{d.stride, d.padding};
    const Shape x{d.n, d.h, d.w, d.in}, weight{d.out, d.kernel, d.kernel, d.in}, y = conv2d_shape(x, weight, o);
    add({.name = describe(d) + ", time embedding",
         .inputs = {normal(x), normal(weight), parameter({d.out}), normal({d.n, d.out})},
         .call = [=](auto& in) { return conv2d(in[0], in[1], {.bias = in[2], .time_embedding = in[3]}, o); },
         .tolerance = tolerance(d)});
    add({.name = describe(d) + ", all there is to add",
         .inputs = {normal(x), normal(weight), parameter({d.out}), normal({d.n, d.out}), normal(y)},
         .call =
             [=](auto& in) {
               return conv2d(in[0], in[1], {in[2], in[3], in[4], 1.5}, o);
             },
         .tolerance = tolerance(d)});
  }
}

OP_CASES(conv2d_of_upsampled) {
  for (const Dims& d : kUpsampled) {
    const Conv2dOptions o{d.stride, d.padding, true};
    const Shape x{d.n, d.h, d.w, d.in}, weight{d.out, d.kernel, d.kernel, d.in}, y = conv2d_shape(x, weight, o);
    add({.name = describe(d),
         .inputs = {normal(x), normal(weight), parameter({d.out}), normal({d.n, d.out}), normal(y)},
         .call =
             [=](auto& in) {
               return conv2d(in[0], in[1], {in[2], in[3], in[4], 1.5}, o);
             },
         .tolerance = tolerance(d)});
  }
}

OP_CASES(conv2d_of_two) {
  for (const auto& [d, second, upsample] : kPairs) {
    const Conv2dOptions o{d.stride, d.padding, upsample};
    add({.name = describe(d),
         .inputs = {normal({d.n, d.h, d.w, d.in}), normal({d.n, d.h, d.w, second}),
                    normal({d.out, d.kernel, d.kernel, d.in + second}), parameter({d.out})},
         .call =
             [=](auto& in) {
               return conv2d({in[0], in[1]}, in[2], {in[3]}, o);
             },
         .tolerance = tolerance(d)});
  }
}

TEST_CASE("conv2d of an upsampled map is upsample_nearest and conv2d", "[ops][conv2d]") {
  for (const Dims& d : kUpsampled) {
    INFO(describe(d));
    const OpCase c{.inputs = {normal({d.n, d.h, d.w, d.in}), normal({d.out, d.kernel, d.kernel, d.in})}};
    const std::vector<Tensor> in = make_inputs(c, Dtype::f64);
    const Tensor folded = kernels::conv2d(in[0], in[1], {}, {1, d.padding, true}).y;
    const Tensor apart = conv2d(upsample_nearest(in[0]), in[1], {}, {1, d.padding}).value();
    CHECK(relative_error(folded, apart) <= 1e-14);
  }
}

TEST_CASE("conv2d of an upsampled map takes no stride", "[ops][conv2d]") {
  const Var x = Tensor::zeros({1, 4, 4, 3}), weight = Tensor::zeros({8, 3, 3, 3});
  CHECK_THROWS_WITH(conv2d(x, weight, {}, {2, Padding::same(1), true}), Contains("takes stride 1"));
}

TEST_CASE("conv2d names both shapes when the channels do not fit", "[ops][conv2d]") {
  const Var x = Tensor::zeros({1, 4, 4, 3}), weight = Tensor::zeros({8, 3, 3, 5});
  CHECK_THROWS_WITH(conv2d(x, weight, {}, {}), Contains("[1,4,4,3]") && Contains("[8,3,3,5]"));
}

TEST_CASE("conv2d names what does not fit its output", "[ops][conv2d]") {
  const Var x = Tensor::zeros({2, 4, 4, 3}), weight = Tensor::zeros({8, 1, 1, 3});
  const Var three = Tensor::zeros({3, 8}), wide = Tensor::zeros({2, 4, 4, 9});
  CHECK_THROWS_WITH(conv2d(x, weight, {.time_embedding = three}, {}),
                    Contains("time embedding f32[3,8]") && Contains("f32[2,4,4,8]"));
  CHECK_THROWS_WITH(conv2d(x, weight, {.residual = wide}, {}), Contains("residual f32[2,4,4,9]"));
  CHECK_THROWS_WITH(conv2d(x, weight, {.output_scale_factor = 0}, {}), Contains("output scale factor is 0"));
}

}  // namespace stipple
