#include <cmath>

#include "kernels/attention.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

struct Case {
  int64_t images, queries, keys, heads, width;
};

// Narrow and wide heads, tokens that fill no vector or block, several tiles of keys, more queries than keys and fewer.
const Case kCases[] = {{1, 1, 1, 1, 1},     {2, 49, 49, 4, 8},    {1, 5, 1, 2, 3},     {3, 7, 131, 1, 3},
                       {1, 33, 300, 2, 1},  {2, 16, 16, 1, 256},  {1, 65, 257, 3, 32}, {2, 17, 9, 2, 20},
                       {1, 64, 64, 1, 512}, {1, 200, 129, 2, 64}, {1, 1, 400, 1, 5},   {2, 196, 196, 2, 8}};

struct Inputs {
  Tensor q, k, v, dy;
  int64_t heads;

  explicit Inputs(const Case& c, float scale = 1)
      : q(random_tensor({c.images, c.queries, c.heads * c.width}, 1, scale)),
        k(random_tensor({c.images, c.keys, c.heads * c.width}, 2, scale)),
        v(random_tensor(k.shape(), 3)),
        dy(random_tensor(q.shape(), 4)),
        heads(c.heads) {}
};

struct Results {
  AttentionOut out;
  AttentionGrads grads;
};

Results run(const Inputs& in, Dtype dtype = Dtype::f32) {
  const RungGuard fast("ATTENTION", "simd");
  const Tensor q = in.q.to(dtype), k = in.k.to(dtype), v = in.v.to(dtype);
  Results r{kernels::attention(q, k, v, in.heads), {empty_like(q), empty_like(k), empty_like(v)}};
  kernels::attention_backward(r.grads, in.dy.to(dtype), q, k, v, r.out, in.heads);
  return r;
}

Results run_on(int threads, const Inputs& in) {
  const ThreadsGuard guard(threads);
  return run(in);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    largest = std::fmax(largest, std::abs(a.to(Dtype::f64).data<double>()[i] - b.to(Dtype::f64).data<double>()[i]));
  return largest;
}

}  // namespace

TEST_CASE("attention in f32 agrees with its oracle in f64", "[attention]") {
  const PoisonGuard poison;
  for (const Case& c : kCases) {
    INFO(c.images << " images, " << c.queries << " queries, " << c.keys << " keys, " << c.heads << " heads of "
                  << c.width);
    const Inputs in(c);
    const Results fast = run(in), oracle = run(in, Dtype::f64);
    CHECK(relative_error(fast.out.y, oracle.out.y) < 2e-6);
    CHECK(relative_error(fast.out.lse, oracle.out.lse) < 1e-6);
    CHECK(relative_error(fast.grads.dv, oracle.grads.dv) < 2e-6);
    if (c.keys == 1) {  // dS is zero, but for rounding
      CHECK(largest_difference(fast.grads.dq, oracle.grads.dq) < 1e-5);
      continue;
    }
    CHECK(relative_error(fast.grads.dq, oracle.grads.dq) < 5e-6);
    CHECK(relative_error(fast.grads.dk, oracle.grads.dk) < 5e-6);
  }
}

TEST_CASE("attention to a single key is its value", "[attention]") {
  const Inputs in({2, 6, 1, 3, 5});
  for (const char* rung : {"oracle", "simd"}) {
    const RungGuard guard("ATTENTION", rung);
    const Tensor y = kernels::attention(in.q, in.k, in.v, in.heads).y;
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t t = 0; t < 6; ++t) CHECK(same_bits(y[n][t], in.v[n][0]));
  }
}

TEST_CASE("large logits do not overflow attention", "[attention]") {
  const Inputs in({1, 40, 150, 2, 16}, 60);  // logits up to 60 * 60 * 16 / 4 and more
  const Results fast = run(in), oracle = run(in, Dtype::f64);
  CHECK(relative_error(fast.out.y, oracle.out.y) < 1e-3);
  CHECK(relative_error(fast.out.lse, oracle.out.lse) < 1e-6);
  CHECK(std::isfinite(relative_error(fast.grads.dk, oracle.grads.dk)));
}

TEST_CASE("attention does not depend on the number of threads", "[attention]") {
  const Inputs in({3, 70, 140, 3, 12});
  const Results one = run_on(1, in), two = run_on(2, in);
  CHECK(same_bits(one.out.y, two.out.y));
  CHECK(same_bits(one.out.lse, two.out.lse));
  CHECK(same_bits(one.grads.dq, two.grads.dq));
  CHECK(same_bits(one.grads.dk, two.grads.dk));
  CHECK(same_bits(one.grads.dv, two.grads.dv));
}

TEST_CASE("attention leaves out gradients that are not wanted", "[attention]") {
  const Inputs in({2, 19, 23, 2, 7});
  const Results all = run(in);
  const RungGuard fast("ATTENTION", "simd");
  AttentionGrads keys_only{{}, empty_like(in.k), {}};
  kernels::attention_backward(keys_only, in.dy, in.q, in.k, in.v, all.out, in.heads);
  CHECK(same_bits(keys_only.dk, all.grads.dk));
}

TEST_CASE("NaN in a key reaches every query", "[attention]") {
  const Inputs in({1, 3, 40, 1, 4});
  in.k.mutable_data<float>()[17] = NAN;
  for (const char* rung : {"oracle", "simd"}) {
    const RungGuard guard("ATTENTION", rung);
    for (const float y : kernels::attention(in.q, in.k, in.v, 1).y.to_vector<float>()) CHECK(std::isnan(y));
  }
}

TEST_CASE("attention names what does not fit", "[attention]") {
  const Inputs in({1, 3, 4, 1, 6});
  CHECK_THROWS_WITH(kernels::attention(in.q, in.k, in.v, 4), Contains("6 channels do not divide into 4 heads"));
}

}  // namespace stipple
