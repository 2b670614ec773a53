#include <cmath>

#include "kernels/adamw.h"
#include "kernels/clamp.h"
#include "kernels/concat.h"
#include "kernels/embedding.h"
#include "kernels/loss.h"
#include "kernels/resample.h"
#include "kernels/softmax.h"
#include "kernels/timestep_embedding.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/ops/random_tensor.h"
#include "tests/rung_guard.h"

namespace stipple {
namespace {

using Floats = std::vector<float>;

Tensor row(const Floats& values) { return Tensor::of<float>({static_cast<int64_t>(values.size())}, values); }
Tensor indices(const std::vector<int64_t>& values) { return Tensor::of({static_cast<int64_t>(values.size())}, values); }

template <typename F>
auto on_threads(int n, F&& f) {
  const ThreadsGuard guard(n);
  return f();
}

// One number through the formulas of kernels/adamw.h, in double.
struct ScalarAdam {
  double p, m = 0, v = 0, ema = p;

  void step(double gradient, const AdamWOptions& o) {
    const double g = o.gradient_scale * gradient + (o.decoupled ? 0 : o.weight_decay * p);
    if (o.decoupled) p -= o.lr * o.weight_decay * p;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double unbiased = m / (1 - std::pow(o.beta1, o.step)),
                 spread = std::sqrt(v / (1 - std::pow(o.beta2, o.step)));
    p -= o.lr * unbiased / (spread + o.eps);
    ema = o.ema_decay * ema + (1 - o.ema_decay) * p;
  }
};

void check_adamw(AdamWOptions o, Dtype dtype) {
  const int64_t n = 1000;
  const Tensor start = random_tensor({n}, 1);
  Tensor p = start.to(dtype).clone(), m = Tensor::zeros({n}, dtype), v = Tensor::zeros({n}, dtype), ema = p.clone();
  std::vector<ScalarAdam> expected;
  for (const float x : start.to_vector<float>()) expected.push_back({x});
  for (o.step = 1; o.step <= 5; ++o.step) {
    const Tensor gradient = random_tensor({n}, 10 + o.step, 0.1f);
    kernels::adamw({p, m, v, gradient.to(dtype), ema}, o);
    for (int64_t i = 0; i < n; ++i) expected[i].step(gradient.data<float>()[i], o);
  }
  Tensor expected_p({n}, Dtype::f64), expected_ema({n}, Dtype::f64);
  for (int64_t i = 0; i < n; ++i) {
    expected_p.mutable_data<double>()[i] = expected[i].p;
    expected_ema.mutable_data<double>()[i] = expected[i].ema;
  }
  const double tolerance = dtype == Dtype::f64 ? 1e-14 : 3e-7;
  CHECK(relative_error(p, expected_p) < tolerance);
  CHECK(relative_error(ema, expected_ema) < tolerance);
}

}  // namespace

TEST_CASE("adamw does to every element what the formula says", "[adamw]") {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    check_adamw({}, dtype);
    check_adamw({.lr = 0.03, .beta1 = 0.95, .weight_decay = 0.1, .gradient_scale = 0.3, .ema_decay = 0.9}, dtype);
    check_adamw({.lr = 0.03, .eps = 0.1, .weight_decay = 0.5, .decoupled = false, .ema_decay = 0}, dtype);
  }
}

TEST_CASE("adamw refuses arenas that do not fit, and step 0", "[adamw]") {
  const Tensor x = Tensor::zeros({4}), other = Tensor::zeros({5});
  CHECK_THROWS_WITH(kernels::adamw({x, x, other, x}, {}), Contains("second moment f32[5]"));
  CHECK_THROWS_WITH(kernels::adamw({x, x, x, x}, {.step = 0}), Contains("count from 1"));
  CHECK_THROWS_WITH(kernels::adamw({x, x, x, x, other}, {}), Contains("moving average f32[5]"));
  CHECK_THROWS_WITH(kernels::adamw({x, x, x, x, {}, x}, {}), Contains("rounded copy f32[4]"));
  CHECK_THROWS_WITH(kernels::adamw({x, x, x, x, {}, x.to(Dtype::bf16)}, {}), Contains("on cpu have no rounded copy"));
}

TEST_CASE("squared_norm and mse are the same bits from any number of threads", "[loss][adamw]") {
  const Tensor a = random_tensor({300, 1001}, 1), b = random_tensor({300, 1001}, 2);
  const auto norm = [&] { return kernels::squared_norm(a); };
  const auto error = [&] { return kernels::mse(a, b); };
  CHECK(on_threads(1, norm) == on_threads(2, norm));
  CHECK(same_bits(on_threads(1, error), on_threads(2, error)));
  CHECK(kernels::squared_norm(row({3, -4})) == 25);
  CHECK(kernels::squared_norm(a) == Approx(a.numel()).epsilon(0.02));
}

TEST_CASE("mse of large tensors is summed in double", "[loss]") {
  const Tensor zero = Tensor::zeros({1 << 24}), x = Tensor::full({1 << 24}, 0.1);
  CHECK(kernels::mse(x, zero).item<float>() == Approx(0.01).epsilon(1e-6));
}

TEST_CASE("cross_entropy names a label out of range", "[loss]") {
  const Tensor logits = random_tensor({3, 10}, 1);
  CHECK_THROWS_WITH(kernels::cross_entropy(logits, indices({1, 10, 2})), Contains("label 10 of sample 1"));
  CHECK_THROWS_WITH(kernels::cross_entropy(logits, indices({1, 2, -3})), Contains("label -3 of sample 2"));
  CHECK_THROWS_WITH(kernels::cross_entropy(logits, indices({1})), Contains("i64[3] expected, got i64[1]"));
}

TEST_CASE("softmax rows sum to one, however large", "[softmax]") {
  const PoisonGuard poison;
  const Tensor y = kernels::softmax(random_tensor({70, 333}, 1, 300));
  for (int64_t i = 0; i < y.dim(0); ++i) {
    double sum = 0;
    for (const float p : y[i].to_vector<float>()) sum += p;
    CHECK(sum == Approx(1).epsilon(1e-6));
  }
}

TEST_CASE("clamp lets the gradient pass on the bounds and between them", "[clamp]") {
  const Tensor x = row({-2, -1, 0.5f, 1, 3}), ones = Tensor::full({5}, 1);
  CHECK(kernels::clamp(x, -1, 1).to_vector<float>() == Floats{-1, -1, 0.5f, 1, 1});
  CHECK(kernels::clamp_backward(ones, x, -1, 1).to_vector<float>() == Floats{0, 1, 1, 1, 0});
  CHECK(std::isnan(kernels::clamp(row({NAN}), -1, 1).item<float>()));
  CHECK_THROWS_WITH(kernels::clamp(x, 1, -1), Contains("between 1 and -1"));
}

TEST_CASE("concat_channels puts b behind a in every pixel, and split_channels takes them apart", "[concat]") {
  const PoisonGuard poison;
  const Tensor a = random_tensor({3, 5, 7, 4}, 1), b = random_tensor({3, 5, 7, 9}, 2);
  const Tensor y = kernels::concat_channels(a, b);
  CHECK(y.shape() == Shape{3, 5, 7, 13});
  CHECK(y[2][4][6].slice(0, 4).to_vector<float>() == a[2][4][6].to_vector<float>());
  CHECK(y[2][4][6].slice(4, 13).to_vector<float>() == b[2][4][6].to_vector<float>());
  const Tensor da = empty_like(a), db = empty_like(b);
  kernels::split_channels({da, db}, y, 4);
  CHECK(same_bits(da, a));
  CHECK(same_bits(db, b));
  kernels::split_channels({{}, db}, y, 4);
  CHECK_THROWS_WITH(kernels::concat_channels(a, b.reshape({3, 7, 5, 9})), Contains("differ in more than"));
}

TEST_CASE("pools drop what fills no block, and give it no gradient", "[resample]") {
  const PoisonGuard poison;
  const Tensor x = Tensor::of<float>({1, 3, 3, 1}, Floats{1, 2, 9, 4, 3, 9, 9, 9, 9}),
               dy = Tensor::full({1, 1, 1, 1}, 4);
  CHECK(kernels::avg_pool2d(x).to_vector<float>() == Floats{2.5f});
  CHECK(kernels::max_pool2d(x).to_vector<float>() == Floats{4});
  CHECK(kernels::avg_pool2d_backward(dy, x.shape()).to_vector<float>() == Floats{1, 1, 0, 1, 1, 0, 0, 0, 0});
  CHECK(kernels::max_pool2d_backward(dy, x).to_vector<float>() == Floats{0, 0, 0, 4, 0, 0, 0, 0, 0});
  CHECK_THROWS_WITH(kernels::avg_pool2d(x, 4), Contains("no 4x4 blocks in [1,3,3,1]"));
}

TEST_CASE("upsample_nearest repeats pixels in both directions", "[resample]") {
  const Tensor x = Tensor::of<float>({1, 1, 2, 2}, Floats{1, 2, 3, 4}), y = kernels::upsample_nearest(x);
  CHECK(y.shape() == Shape{1, 2, 4, 2});
  CHECK(y.to_vector<float>() == Floats{1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4});
  CHECK(kernels::upsample_nearest_backward(y).to_vector<float>() == Floats{4, 8, 12, 16});
}

TEST_CASE("the gradient of an embedding is the sum over a row's occurrences, on top of what is there", "[embedding]") {
  const Tensor table = random_tensor({4, 130}, 1), dy = random_tensor({5, 130}, 2), at = indices({2, 0, 2, 2, 3});
  CHECK(same_bits(kernels::embedding(table, at)[3], table[2]));
  const Tensor fresh({4, 130});
  kernels::embedding_backward({fresh}, dy, at);
  for (int d : {0, 64, 129}) {
    const auto of = [&](int i) { return dy[i].data<float>()[d]; };
    CHECK(fresh[2].data<float>()[d] == of(0) + of(2) + of(3));
    CHECK(fresh[1].data<float>()[d] == 0);
  }
  const Tensor more = table.clone();
  kernels::embedding_backward({more, true}, dy, at);
  CHECK(more[0].data<float>()[7] == table[0].data<float>()[7] + dy[1].data<float>()[7]);
  CHECK_THROWS_WITH(kernels::embedding(table, indices({0, 4})), Contains("index 4 at position 1"));
}

TEST_CASE("timestep_embedding at zero is zeros and ones", "[timestep_embedding]") {
  const Tensor zero = indices({0});
  CHECK(kernels::timestep_embedding(zero, {.dim = 5}).to_vector<float>() == Floats{1, 1, 0, 0, 0});
  CHECK(kernels::timestep_embedding(zero, {.dim = 4, .flip_sin_to_cos = false}).to_vector<float>() ==
        Floats{0, 0, 1, 1});
  const Tensor y = kernels::timestep_embedding(row({2}), {.dim = 4, .flip_sin_to_cos = false, .freq_shift = 1});
  CHECK(y.data<float>()[0] == Approx(std::sin(2.0)));
  CHECK(y.data<float>()[1] == Approx(std::sin(2e-4)));
  CHECK_THROWS_WITH(kernels::timestep_embedding(zero, {.dim = 2, .freq_shift = 1}), Contains("no frequencies"));
}

}  // namespace stipple
