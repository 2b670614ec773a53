#include "kernels/matmul.h"
#include "tensor/random.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

struct Dims {
  int64_t rows, columns, inner;
};

// Less than a vector, a tile and a bit, several tasks, long sums, no terms at all.
const std::vector<Dims> kDims = {{1, 1, 1},       {1, 3, 5},      {3, 17, 33},   {14, 32, 64},
                                 {15, 33, 17},    {128, 128, 32}, {64, 128, 96}, {33, 64, 2000},
                                 {224, 320, 129}, {5, 512, 1100}, {4, 6, 0},     {1, 96, 513}};

Tensor normal(const Shape& shape, uint64_t seed) {
  Tensor t(shape);
  PhiloxGenerator(seed).normal(t.mutable_data<float>(), t.numel());
  return t;
}

struct Problem {
  Tensor a, b, before;
  Transpose transpose_a, transpose_b;

  Problem(const Dims& d, Transpose ta, Transpose tb) : transpose_a(ta), transpose_b(tb) {
    a = normal(ta == Transpose::yes ? Shape{d.inner, d.rows} : Shape{d.rows, d.inner}, 1);
    b = normal(tb == Transpose::yes ? Shape{d.columns, d.inner} : Shape{d.inner, d.columns}, 2);
    before = normal({d.rows, d.columns}, 3);
  }

  Tensor run(Dtype dtype, bool add) const {
    const Grad c{add ? before.to(dtype).clone() : Tensor(before.shape(), dtype), add};
    kernels::matmul_into(c, a.to(dtype), b.to(dtype), transpose_a, transpose_b);
    return c.to;
  }
  Tensor oracle(bool add) const {
    const RungGuard guard("MATMUL", "oracle");
    return run(Dtype::f64, add);
  }
};

template <typename F>
void for_problems(F&& f) {
  for (const Dims& d : kDims)
    for (const Transpose ta : {Transpose::no, Transpose::yes})
      for (const Transpose tb : {Transpose::no, Transpose::yes}) {
        INFO(d.rows << "x" << d.inner << "x" << d.columns << ", transposes " << (ta == Transpose::yes)
                    << (tb == Transpose::yes));
        f(Problem(d, ta, tb));
      }
}

}  // namespace

TEST_CASE("every rung of matmul computes what the oracle does, whatever was in memory", "[matmul]") {
  const PoisonGuard poison;
  for (const char* rung : {"oracle", "eigen", "double", "simd"})
    for_problems([&](const Problem& p) {
      INFO(rung);
      const RungGuard guard("MATMUL", rung);
      for (const bool add : {false, true}) CHECK(relative_error(p.run(Dtype::f32, add), p.oracle(add)) < 1e-6);
    });
}

TEST_CASE("matmul by Eigen in f64 is the oracle's to the last digits", "[matmul]") {
  for_problems([&](const Problem& p) { CHECK(relative_error(p.run(Dtype::f64, true), p.oracle(true)) < 1e-14); });
}

TEST_CASE("matmul has the same bits with one thread and with three", "[matmul]") {
  for (const char* rung : {"eigen", "double", "simd"})
    for_problems([&](const Problem& p) {
      INFO(rung);
      const RungGuard guard("MATMUL", rung);
      const auto run = [&](int threads) {
        const ThreadsGuard limit(threads);
        return p.run(Dtype::f32, true);
      };
      CHECK(same_bits(run(1), run(3)));
    });
}

TEST_CASE("linear is x weight^T + bias, on every rung", "[matmul]") {
  const PoisonGuard poison;
  for (const auto& [rows, columns, inner] : kDims) {
    if (inner == 0) continue;  // linear goes by the size of its input, and there would be none
    INFO(rows << "x" << inner << "x" << columns);
    const Tensor x = normal({rows, inner}, 1), weight = normal({columns, inner}, 2), bias = normal({columns}, 3);
    const Tensor expected = kernels::linear(x.to(Dtype::f64), weight.to(Dtype::f64), bias.to(Dtype::f64));
    for (const char* rung : {"oracle", "eigen", "double", "simd"}) {
      const RungGuard guard("MATMUL", rung);
      CHECK(relative_error(kernels::linear(x, weight, bias), expected) < 1e-6);
    }
    CHECK(expected.data<double>()[0] != kernels::linear(x.to(Dtype::f64), weight.to(Dtype::f64), {}).data<double>()[0]);
  }
}

TEST_CASE("a NaN in one row of matmul stays in its row", "[matmul]") {
  const Tensor a = normal({20, 33}, 1), b = normal({33, 17}, 2);
  a.mutable_data<float>()[7 * 33 + 32] = NAN;
  const Tensor c = kernels::matmul(a, b);
  for (int64_t i = 0; i < c.numel(); ++i) REQUIRE(std::isnan(c.data<float>()[i]) == (i / 17 == 7));
}

}  // namespace stipple
