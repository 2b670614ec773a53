#include "kernels/group_norm.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

struct Case {
  Shape shape;
  int64_t groups;
};

// Groups one channel wide, three, 28; rows that fill no vector; fewer pixels than lanes; pictures of several pieces, in
// one image and in many.
const Case kCases[] = {{{1, 1, 1, 12}, 2},    {{2, 7, 5, 6}, 3}, {{3, 4, 4, 224}, 32},  {{1, 28, 28, 32}, 8},
                       {{2, 3, 3, 1}, 1},     {{9, 5, 3, 3}, 1}, {{1, 65, 33, 28}, 28}, {{2, 64, 64, 48}, 4},
                       {{8, 33, 31, 40}, 10}, {{2, 9, 35}, 5},   {{1, 130, 127, 7}, 7}, {{3, 2, 2, 512}, 32},
                       {{2, 1, 1, 672}, 32},  {{4, 6}, 2}};

struct Inputs {
  Tensor x, gamma, beta, dy;

  explicit Inputs(const Shape& shape, float shift = 0.5f)
      : x(random_tensor(shape, 1, 2, shift)),
        gamma(random_tensor({shape[-1]}, 2)),
        beta(random_tensor({shape[-1]}, 3)),
        dy(random_tensor(shape, 4)) {}
};

struct Results {
  GroupNormOut out;
  Tensor dx, dgamma, dbeta;
};

Results run(const Inputs& in, const GroupNormOptions& o, Dtype dtype = Dtype::f32) {
  const auto to = [&](const Tensor& t) { return t.to(dtype); };
  Results r{kernels::group_norm(to(in.x), to(in.gamma), to(in.beta), o), Tensor(in.x.shape(), dtype),
            Tensor(in.gamma.shape(), dtype), Tensor(in.beta.shape(), dtype)};
  kernels::group_norm_backward({r.dx, {r.dgamma}, {r.dbeta}}, to(in.dy), to(in.x), to(in.gamma), to(in.beta),
                               r.out.mean, r.out.rstd, o);
  return r;
}

// The oracle on the same f32 numbers, mean and rstd among them.
Results oracle_of(const Inputs& in, const GroupNormOptions& o) {
  const RungGuard guard("GROUP_NORM", "oracle");
  return run(in, o);
}

// Two inputs: channels of each. Groups end at the seam, straddle it, and lie all around it; rows that fill no vector;
// pictures of several pieces, and many images; no channels at all.
struct PairCase {
  Shape pixels;
  int64_t first, second, groups;
};
const PairCase kPairs[] = {{{1, 28, 28}, 24, 8, 4},  {{3, 7, 5}, 3, 3, 2},     {{2, 9, 7}, 448, 224, 32},
                           {{1, 1, 1}, 224, 96, 8},  {{1, 65, 33}, 96, 32, 1}, {{9, 33, 31}, 17, 7, 3},
                           {{2, 64, 64}, 40, 24, 8}, {{1, 5, 3}, 0, 6, 2},     {{1, 5, 3}, 6, 0, 2}};

Shape with_channels(const Shape& pixels, int64_t channels) { return {pixels[0], pixels[1], pixels[2], channels}; }

Concat<Tensor> parts_of(const Tensor& x, int64_t first) {
  const Shape pixels(x.shape().begin(), x.shape().end() - 1);
  const Concat<Tensor> parts{Tensor(with_channels(pixels, first), x.dtype()),
                             Tensor(with_channels(pixels, x.dim(-1) - first), x.dtype())};
  kernels::split_channels(parts, x, first);
  return parts;
}

// `in`, its x in two; dx is concatenated again.
Results run_in_two(const Inputs& in, int64_t first, const GroupNormOptions& o, Dtype dtype = Dtype::f32) {
  const auto to = [&](const Tensor& t) { return t.to(dtype); };
  const Concat<Tensor> x = parts_of(to(in.x), first), dx{empty_like(x.a), empty_like(x.b)};
  Results r{kernels::group_norm(x, to(in.gamma), to(in.beta), o), Tensor(), Tensor(in.gamma.shape(), dtype),
            Tensor(in.beta.shape(), dtype)};
  kernels::group_norm_backward({dx, {r.dgamma}, {r.dbeta}}, to(in.dy), x, to(in.gamma), to(in.beta), r.out.mean,
                               r.out.rstd, o);
  r.dx = kernels::concat_channels(dx);
  return r;
}

Results run_on(int threads, const Inputs& in, const GroupNormOptions& o) {
  const ThreadsGuard guard(threads);
  return run(in, o);
}

}  // namespace

TEST_CASE("group_norm in f32 agrees with its oracle in f64", "[group_norm]") {
  const RungGuard guard("GROUP_NORM", GENERATE("simd", "double"));
  const PoisonGuard poison;
  for (const auto& [shape, groups] : kCases)
    for (bool silu : {false, true}) {
      INFO(to_string(shape) << " in " << groups << " groups" << (silu ? ", SiLU" : ""));
      const Inputs in(shape);
      const GroupNormOptions o{groups, 1e-5, silu};
      const Results fast = run(in, o), oracle = run(in, o, Dtype::f64);
      CHECK(relative_error(fast.out.y, oracle.out.y) < 1e-6);
      CHECK(relative_error(fast.out.mean, oracle.out.mean) < 1e-6);
      CHECK(relative_error(fast.out.rstd, oracle.out.rstd) < 1e-6);
      CHECK(relative_error(fast.dx, oracle.dx) < 1e-5);
      CHECK(relative_error(fast.dgamma, oracle.dgamma) < 1e-5);
      CHECK(relative_error(fast.dbeta, oracle.dbeta) < 2e-6);
    }
}

TEST_CASE("group_norm over two inputs is that of their concatenation", "[group_norm]") {
  const PoisonGuard poison;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64})
    for (const char* rung : {"oracle", "simd", "double"})
      for (const auto& [pixels, first, second, groups] : kPairs)
        for (const bool silu : {false, true}) {
          INFO(name_of(dtype) << ' ' << rung << ' ' << to_string(pixels) << ' ' << first << " + " << second << " in "
                              << groups << (silu ? ", SiLU" : ""));
          const RungGuard guard("GROUP_NORM", rung);
          const Inputs in(with_channels(pixels, first + second));
          const GroupNormOptions o{groups, 1e-5, silu};
          const Results two = run_in_two(in, first, o, dtype), one = run(in, o, dtype);
          CHECK(relative_error(two.out.y, one.out.y) < 5e-7);
          CHECK(relative_error(two.out.mean, one.out.mean) < 5e-7);
          CHECK(relative_error(two.out.rstd, one.out.rstd) < 5e-7);
          CHECK(relative_error(two.dx, one.dx) < 2e-6);
          CHECK(relative_error(two.dgamma, one.dgamma) < 2e-6);
          CHECK(relative_error(two.dbeta, one.dbeta) < 2e-6);
        }
}

TEST_CASE("group_norm writes the gradient of either of two inputs alone", "[group_norm]") {
  const RungGuard guard("GROUP_NORM", GENERATE("oracle", "simd", "double"));
  const Inputs in({2, 9, 7, 40});
  const GroupNormOptions o{4, 1e-5, true};  // the third group straddles the seam
  const Concat<Tensor> x = parts_of(in.x, 24), both = parts_of(run_in_two(in, 24, o).dx, 24);
  const GroupNormOut out = kernels::group_norm(x, in.gamma, in.beta, o);
  const auto gradient = [&](const Concat<Tensor>& dx) {
    kernels::group_norm_backward({dx, {}, {}}, in.dy, x, in.gamma, in.beta, out.mean, out.rstd, o);
    return dx;
  };
  CHECK(same_bits(gradient({empty_like(x.a), {}}).a, both.a));
  CHECK(same_bits(gradient({{}, empty_like(x.b)}).b, both.b));
}

TEST_CASE("group_norm in double leaves only the rounding of its results", "[group_norm]") {
  const RungGuard guard("GROUP_NORM", "double");
  for (const auto& [shape, groups] : kCases)
    for (bool silu : {false, true}) {
      INFO(to_string(shape) << " in " << groups << " groups" << (silu ? ", SiLU" : ""));
      const Inputs in(shape);
      const GroupNormOptions o{groups, 1e-5, silu};
      const Results found = run(in, o), oracle = oracle_of(in, o);
      CHECK(relative_error(found.out.y, oracle.out.y) < 1e-7);
      CHECK(relative_error(found.dx, oracle.dx) < 1e-7);
      CHECK(relative_error(found.dgamma, oracle.dgamma) < 1e-7);
      CHECK(relative_error(found.dbeta, oracle.dbeta) < 1e-7);
    }
}

TEST_CASE("group_norm of small maps is computed in double, of many in f32", "[group_norm]") {
  for (const auto& [shape, rung] : {std::pair<Shape, const char*>{{2, 32, 32, 64}, "double"},
                                    {{3, 32, 32, 64}, "simd"},
                                    {{300, 4, 4, 64}, "double"}}) {
    const Inputs in(shape);
    const GroupNormOptions o{8, 1e-5, true};
    const Results chosen = run(in, o);
    const RungGuard guard("GROUP_NORM", rung);
    const Results named = run(in, o);
    CHECK(same_bits(chosen.out.y, named.out.y));
    CHECK(same_bits(chosen.dx, named.dx));
  }
}

TEST_CASE("group_norm loses no digits far from zero", "[group_norm]") {
  for (float shift : {1e3f, -1e4f, 1e5f}) {
    const Inputs in({2, 32, 32, 24}, shift);
    const GroupNormOptions o{8, 1e-5, true};
    CHECK(relative_error(run(in, o).out.y, run(in, o, Dtype::f64).out.y) < 1e-6);
  }
}

TEST_CASE("group_norm of a large constant is its bias", "[group_norm]") {
  Inputs in({2, 16, 16, 12});
  in.x.fill(1e6);
  const Tensor y = kernels::group_norm(in.x, in.gamma, in.beta, {4, 1e-5, false}).y;
  for (int64_t i = 0; i < y.numel(); ++i) REQUIRE(y.data<float>()[i] == in.beta.data<float>()[i % 12]);
}

TEST_CASE("group_norm does not depend on the number of threads", "[group_norm]") {
  for (const Shape& shape : {Shape{1, 96, 80, 32}, Shape{11, 9, 9, 20}}) {
    const Inputs in(shape);
    const GroupNormOptions o{4, 1e-5, true};
    const Results one = run_on(1, in, o), two = run_on(2, in, o);
    CHECK(same_bits(one.out.y, two.out.y));
    CHECK(same_bits(one.dx, two.dx));
    CHECK(same_bits(one.dgamma, two.dgamma));
    CHECK(same_bits(one.dbeta, two.dbeta));
    const auto in_two = [&](int threads) {
      const ThreadsGuard guard(threads);
      return run_in_two(in, 9, o);
    };
    CHECK(same_bits(in_two(1).out.y, in_two(2).out.y));
    CHECK(same_bits(in_two(1).dx, in_two(2).dx));
  }
}

TEST_CASE("an image's group_norm does not depend on its batch", "[group_norm]") {
  const RungGuard guard("GROUP_NORM", GENERATE("simd", "double"));
  const Inputs many({9, 64, 48, 24});
  const GroupNormOptions o{6, 1e-5, true};
  const Tensor batch = kernels::group_norm(many.x, many.gamma, many.beta, o).y;
  CHECK(same_bits(kernels::group_norm(many.x.slice(7, 8), many.gamma, many.beta, o).y, batch.slice(7, 8)));
}

TEST_CASE("group_norm adds to gradients where told, and leaves out those not wanted", "[group_norm]") {
  const Inputs in({3, 8, 8, 12});
  const GroupNormOptions o{3, 1e-5, true};
  const Results r = run(in, o);
  Tensor twice = r.dgamma.clone();
  kernels::group_norm_backward({{}, {twice, true}, {}}, in.dy, in.x, in.gamma, in.beta, r.out.mean, r.out.rstd, o);
  for (int c = 0; c < 12; ++c) CHECK(twice.data<float>()[c] == Approx(2 * r.dgamma.data<float>()[c]));
}

TEST_CASE("group_norm names what does not fit", "[group_norm]") {
  const Inputs in({1, 2, 2, 6});
  CHECK_THROWS_WITH(kernels::group_norm(in.x, in.gamma, in.beta, {4}),
                    Contains("6 channels do not divide into 4 groups"));
}

}  // namespace stipple
