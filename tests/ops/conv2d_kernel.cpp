#include "kernels/conv2d.h"
#include "tensor/random.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

struct Dims {
  int64_t n, h, w, c, k, filter, stride;
  Padding padding;
};

const std::vector<Dims> kDims = {
    // channels that fill no vector, one vector, several tiles
    {1, 7, 5, 1, 1, 3, 1, Padding::same(1)},
    {3, 7, 5, 3, 5, 3, 1, Padding::same(1)},
    {1, 7, 5, 17, 33, 3, 1, Padding::same(1)},
    {3, 7, 5, 33, 17, 3, 1, Padding::same(1)},
    {1, 7, 7, 96, 32, 3, 1, Padding::same(1)},
    {1, 4, 4, 224, 96, 3, 1, Padding::same(1)},
    {1, 2, 3, 448, 64, 3, 1, Padding::same(1)},  // a window longer than one chunk
    {2, 14, 14, 64, 64, 3, 1, Padding::same(1)},
    {1, 33, 30, 32, 64, 3, 1, Padding::same(1)},
    // the first and last layer of an image network
    {3, 28, 28, 1, 32, 3, 1, Padding::same(1)},
    {3, 28, 28, 32, 1, 3, 1, Padding::same(1)},
    {2, 28, 28, 5, 32, 3, 1, Padding::same(1)},
    {2, 16, 16, 32, 3, 3, 1, Padding::same(1)},
    // small maps, many images
    {1, 1, 1, 64, 64, 3, 1, Padding::same(1)},
    {33, 1, 1, 17, 33, 3, 1, Padding::same(1)},
    {17, 2, 2, 32, 5, 3, 1, Padding::same(1)},
    {20, 4, 7, 64, 32, 3, 1, Padding::same(1)},
    // 1x1
    {3, 7, 5, 33, 17, 1, 1, {}},
    {1, 28, 28, 64, 32, 1, 1, {}},
    {3, 7, 5, 5, 3, 1, 2, {}},
    {2, 7, 5, 32, 64, 1, 3, {}},
    // 5x5 and no padding
    {3, 7, 5, 17, 5, 5, 1, Padding::same(2)},
    {1, 14, 14, 32, 32, 5, 1, {}},
    {2, 9, 8, 3, 5, 5, 2, Padding::same(2)},
    {2, 9, 8, 64, 32, 3, 1, {}},
    // strides, padding of one side, padding wider than the filter
    {3, 28, 28, 32, 32, 3, 2, Padding::same(1)},
    {3, 7, 5, 17, 33, 3, 2, {0, 1, 0, 1}},
    {1, 28, 28, 32, 64, 3, 2, {0, 1, 0, 1}},
    {2, 8, 7, 5, 3, 3, 3, {2, 0, 1, 0}},
    {2, 7, 5, 3, 5, 3, 1, {4, 0, 0, 3}},
    {2, 7, 5, 3, 5, 3, 2, {5, 1, 0, 4}},
};

struct FastRung {
  const char* name;
  double tolerance;
};
const std::vector<FastRung> kFastRungs = {{"double", 3e-7}, {"gemm", 1e-6}, {"winograd", 2.5e-6}};

Tensor normal(const Shape& shape, uint64_t seed) {
  Tensor t(shape);
  PhiloxGenerator(seed).normal(t.mutable_data<float>(), t.numel());
  return t;
}

// Everything the three kernels compute from the same inputs; gradients of parameters are added to `before`.
struct Results {
  Tensor y, dx, dweight, dbias;
};

struct Problem {
  Conv2dOptions options;
  Tensor x, weight, bias, dy, before, before_bias;

  explicit Problem(const Dims& d) : options{d.stride, d.padding} {
    x = normal({d.n, d.h, d.w, d.c}, 1);
    weight = normal({d.k, d.filter, d.filter, d.c}, 2);
    bias = normal({d.k}, 3);
    dy = normal(conv2d_shape(x.shape(), weight.shape(), options), 4);
    before = normal(weight.shape(), 5);
    before_bias = normal({d.k}, 6);
  }

  Results run(Dtype dtype, bool add) const {
    const Tensor a = x.to(dtype), w = weight.to(dtype), upstream = dy.to(dtype);
    const Grad dw{add ? before.to(dtype).clone() : Tensor(weight.shape(), dtype), add};
    const Grad db{add ? before_bias.to(dtype).clone() : Tensor(bias.shape(), dtype), add};
    Results out{kernels::conv2d(a, w, {add ? bias.to(dtype) : Tensor()}, options).y,
                kernels::conv2d_input_gradient(upstream, w, a.shape(), options), dw.to, db.to};
    kernels::conv2d_weight_gradient({dw, db}, upstream, a, options);
    return out;
  }
};

void check_close(const Results& a, const Results& b, double tolerance) {
  CHECK(relative_error(a.y, b.y) < tolerance);
  CHECK(relative_error(a.dx, b.dx) < tolerance);
  CHECK(relative_error(a.dweight, b.dweight) < tolerance);
  CHECK(relative_error(a.dbias, b.dbias) < tolerance);
}

void check_same_bits(const Results& a, const Results& b) {
  CHECK(same_bits(a.y, b.y));
  CHECK(same_bits(a.dx, b.dx));
  CHECK(same_bits(a.dweight, b.dweight));
  CHECK(same_bits(a.dbias, b.dbias));
}

std::string describe(const Dims& d) {
  return fmt::format("{}x{}x{}x{} -> {}, filter {}, stride {}, padding {} {} {} {}", d.n, d.h, d.w, d.c, d.k, d.filter,
                     d.stride, d.padding.top, d.padding.bottom, d.padding.left, d.padding.right);
}

}  // namespace

TEST_CASE("every rung of conv2d computes what the oracle does, whatever was in memory", "[conv2d]") {
  const PoisonGuard poison;
  for (const Dims& d : kDims)
    for (const auto& [rung, tolerance] : kFastRungs) {
      INFO(rung << " " << describe(d));
      const RungGuard guard("CONV2D", rung);
      const Problem problem(d);
      for (const bool add : {false, true})
        check_close(problem.run(Dtype::f32, add), problem.run(Dtype::f64, add), tolerance);
    }
}

// Above all by the matrix product, which reads the two.
TEST_CASE("conv2d of two inputs is that of their concatenation", "[conv2d]") {
  const PoisonGuard poison;
  struct Pair {
    Dims dims;
    int64_t first;
  };
  for (const auto& [d, first] : {Pair{{3, 7, 5, 33, 17, 1, 1, {}}, 5}, Pair{{1, 28, 28, 64, 32, 1, 1, {}}, 48},
                                 Pair{{2, 13, 11, 672, 72, 1, 1, {}}, 448}, Pair{{2, 8, 6, 48, 40, 1, 2, {}}, 16},
                                 Pair{{19, 2, 2, 40, 24, 1, 1, {}}, 24}, Pair{{2, 6, 5, 9, 8, 1, 1, {0, 1, 2, 0}}, 3},
                                 Pair{{2, 16, 16, 32, 32, 3, 1, Padding::same(1)}, 24}})
    for (const char* rung : {"oracle", "double", "gemm", "winograd", "fastest"})
      for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
        INFO(rung << ' ' << name_of(dtype) << ' ' << describe(d) << ", the first " << first);
        const RungGuard guard("CONV2D", rung);
        const Problem problem(d);
        const Tensor x = problem.x.to(dtype), weight = problem.weight.to(dtype), bias = problem.bias.to(dtype);
        const Concat<Tensor> parts{Tensor({d.n, d.h, d.w, first}, dtype), Tensor({d.n, d.h, d.w, d.c - first}, dtype)};
        kernels::split_channels(parts, x, first);
        const auto convolved = [&](const Concat<Tensor>& in, int threads) {
          const ThreadsGuard limit(threads);
          return kernels::conv2d(in, weight, {bias}, problem.options).y;
        };
        CHECK(relative_error(convolved(parts, 1), convolved(x, 1)) < 5e-7);
        CHECK(same_bits(convolved(parts, 1), convolved(parts, 3)));
      }
}

TEST_CASE("the oracle of conv2d in f32 is its f64 rounded", "[conv2d]") {
  const RungGuard guard("CONV2D", "oracle");
  const Problem problem({2, 7, 5, 3, 5, 3, 2, {0, 1, 0, 1}});
  check_close(problem.run(Dtype::f32, true), problem.run(Dtype::f64, true), 1e-7);
}

TEST_CASE("conv2d has the same bits with one thread and with three", "[conv2d]") {
  for (const Dims& d : kDims)
    for (const FastRung& rung : kFastRungs) {
      INFO(rung.name << " " << describe(d));
      const RungGuard guard("CONV2D", rung.name);
      const Problem problem(d);
      const auto run = [&](int threads) {
        const ThreadsGuard limit(threads);
        return problem.run(Dtype::f32, true);
      };
      check_same_bits(run(1), run(3));
    }
}

TEST_CASE("an image has the same bits alone and in a batch", "[conv2d]") {
  for (const Dims& d : {Dims{20, 7, 5, 17, 33, 3, 1, Padding::same(1)},
                        Dims{20, 14, 14, 64, 64, 3, 1, Padding::same(1)}, Dims{16, 8, 8, 32, 32, 3, 2, {0, 1, 0, 1}}}) {
    for (const FastRung& rung : kFastRungs) {
      const RungGuard guard("CONV2D", rung.name);
      const Problem problem(d);
      const Tensor batch = kernels::conv2d(problem.x, problem.weight, {problem.bias}, problem.options).y;
      const Tensor alone = kernels::conv2d(problem.x.slice(6, 7), problem.weight, {problem.bias}, problem.options).y;
      CHECK(same_bits(batch.slice(6, 7), alone));
    }
  }
}

TEST_CASE("a NaN reaches the outputs whose window covers it and no others", "[conv2d]") {
  for (const char* rung : {"oracle", "double", "gemm"}) {
    const RungGuard guard("CONV2D", rung);
    const Tensor x = normal({2, 9, 9, 17}, 1), weight = normal({33, 3, 3, 17}, 2);
    x.mutable_data<float>()[(1 * 81 + 4 * 9 + 0) * 17 + 16] = NAN;  // image 1, pixel (4, 0), the last channel
    const Tensor y = kernels::conv2d(x, weight, {}, {1, Padding::same(1)}).y;
    for (int64_t i = 0; i < y.numel(); ++i) {
      const int64_t n = i / 33 / 81, row = i / 33 / 9 % 9, column = i / 33 % 9;
      REQUIRE(std::isnan(y.data<float>()[i]) == (n == 1 && row >= 3 && row <= 5 && column <= 1));
    }
  }
}

TEST_CASE("conv2d of no images is no images and zero gradients", "[conv2d]") {
  const Tensor x({0, 8, 8, 32}), weight = normal({16, 3, 3, 32}, 1), dweight(weight.shape());
  const Conv2dOptions o{1, Padding::same(1)};
  const Tensor y = kernels::conv2d(x, weight, {}, o).y;
  CHECK(y.shape() == Shape{0, 8, 8, 16});
  CHECK(kernels::conv2d_input_gradient(y, weight, x.shape(), o).numel() == 0);
  kernels::conv2d_weight_gradient({{dweight}}, y, x, o);
  CHECK(same_bits(dweight, Tensor::zeros(weight.shape())));
}

}  // namespace stipple
