#include "autograd/gradient_check.h"
#include "autograd/ops.h"
#include "kernels/arithmetic.h"
#include "tensor/allocator.h"
#include "tensor/random.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace stipple {
namespace {

using Floats = std::vector<float>;

Tensor drawn(const Shape& shape, uint64_t seed = 0) {
  PhiloxGenerator generator(seed);
  return normal(generator, shape);
}

Var scalar_leaf(float value) { return leaf(Tensor::full({}, value)); }

float slope(const Var& y, const Var& x) { return grad(y, {x})[0].item<float>(); }

size_t live_bytes() { return cpu_allocator().stats().live; }

// y = x + p, noting for which inputs a gradient was asked of it.
Var noting_sum(const Var& x, const Var& p, std::vector<bool>& asked) {
  const Tensor y = (Var(x.value()) + Var(p.value())).value();
  return record("noting_sum", y, {x, p}, [&asked](const Tensor& dy, Destinations& to) {
    asked = {to.wanted(0), to.wanted(1)};
    to.set(0, dy);
    to.set(1, dy);
  });
}

// A million operations on one number.
Var chain(Var x, int64_t length) {
  for (int64_t i = 0; i < length; ++i) x = affine(x, 1, 1e-6);
  return x;
}
constexpr int64_t kMillion = 1000000;

}  // namespace

TEST_CASE("a result used on two paths gathers both gradients", "[autograd]") {
  const Var x = scalar_leaf(3);
  const Var a = x * x;                // 9
  const Var y = a * 2.0 + a * a + x;  // dy/dx = 2x (2 + 2a) + 1
  CHECK(y.value().item<float>() == 102);
  CHECK(slope(y, x) == 121);
}

TEST_CASE("the order of paths of different lengths does not matter", "[autograd]") {
  const Var x = scalar_leaf(2);
  const Var longer = ((x + 1.0) * 3.0 + 1.0) * x;  // (3x + 4) x
  CHECK(slope(longer + x, x) == 17);
  CHECK(slope(x + ((x + 1.0) * 3.0 + 1.0) * x, x) == 17);
}

TEST_CASE("an operation may take one Var twice", "[autograd]") {
  const Var x = scalar_leaf(5);
  CHECK(slope(x * x, x) == 10);
  CHECK(slope(x + x, x) == 2);
  CHECK(slope(x - x, x) == 0);
  CHECK(slope(x / x, x) == 0);
  backward(x * x);
  CHECK(x.gradient().item<float>() == 10);
}

TEST_CASE("one leaf may be two parameters of an operation", "[autograd]") {
  const Tensor x = drawn({2, 3, 4}), w = drawn({4}, 1), dy = drawn({2, 3, 4}, 2);
  const Var gamma = leaf(w), beta = leaf(w), both = leaf(w);
  const auto apart = grad(group_norm(x, gamma, beta, {.groups = 2}), {gamma, beta}, dy);
  const Tensor together = (Var(apart[0]) + Var(apart[1])).value();
  CHECK(relative_error(grad(group_norm(x, both, both, {.groups = 2}), {both}, dy)[0], together) < 1e-6);
  backward(group_norm(x, both, both, {.groups = 2}), dy);
  CHECK(relative_error(both.gradient(), together) < 1e-6);
  backward(group_norm(x, both, both, {.groups = 2}), dy);
  CHECK(relative_error(both.gradient(), (Var(together) * 2.0).value()) < 1e-6);
}

TEST_CASE("an operation may write the gradients of its parameters in any order", "[autograd]") {
  const auto last_first = [](const Var& a, const Var& b) {
    return record("last_first", a.value(), {a, b}, [](const Tensor& dy, Destinations& to) {
      const Grad da = to.parameter(0, dy.shape(), dy.dtype()), db = to.parameter(1, dy.shape(), dy.dtype());
      for (const Grad& g : {db, da}) g.add ? kernels::accumulate(g.to, dy) : g.to.copy_from(dy);
    });
  };
  const Var w = leaf(drawn({3}));
  backward(last_first(w, w));
  CHECK(w.gradient().to_vector<float>() == Floats{2, 2, 2});
  backward(last_first(w, w));
  CHECK(w.gradient().to_vector<float>() == Floats{4, 4, 4});
}

TEST_CASE("one leaf may be input and weight at once", "[autograd]") {
  gradient_check([](auto& in) { return linear(in[0], in[0], {}); }, {drawn({3, 3})});
  const Var w = leaf(drawn({3, 3}));
  const Tensor expected = grad(linear(w, w, {}), {w})[0];
  backward(linear(w, w, {}));
  CHECK(relative_error(w.gradient(), expected) < 1e-6);
}

TEST_CASE("a chain of a million operations is built, swept and destroyed", "[autograd]") {
  const size_t before = live_bytes();
  {
    const Var x = scalar_leaf(1);
    CHECK(slope(chain(x, kMillion), x) == 1);
  }
  CHECK(live_bytes() == before);
}

TEST_CASE("a chain of a million operations that nobody sweeps is destroyed", "[autograd]") {
  const size_t before = live_bytes();
  { const Var y = chain(scalar_leaf(1), kMillion); }
  CHECK(live_bytes() == before);
}

TEST_CASE("a second backward through the same graph throws and names the operation", "[autograd]") {
  const Var x = leaf(drawn({3}));
  const Var hidden = silu(x);
  const Var y = sum(hidden);
  backward(y);
  CHECK_THROWS_WITH(backward(y), Contains("sum") && Contains("already swept"));
  CHECK_THROWS_WITH(backward(sum(hidden * 2.0)), Contains("silu"));
  CHECK_THROWS_WITH(grad(y, {x}), Contains("sum"));
}

TEST_CASE("grad returns gradients of leaves and of inner results", "[autograd]") {
  const Var x = scalar_leaf(3), w = scalar_leaf(4);
  const Var h = x * w;
  const Var y = h * h + w;
  const auto found = grad(y, {h, x, w, y});
  CHECK(found[0].item<float>() == 24);
  CHECK(found[1].item<float>() == 96);
  CHECK(found[2].item<float>() == 73);
  CHECK(found[3].item<float>() == 1);
  CHECK_FALSE(x.gradient().defined());
}

TEST_CASE("grad sweeps no further than it is asked to", "[autograd]") {
  const Var x = scalar_leaf(3);
  const Var h = x * x;
  CHECK(slope(h * 5.0, h) == 5);
  CHECK(slope(h, x) == 6);  // h's own node was left alone
}

TEST_CASE("the gradient of what y does not depend on is zeros", "[autograd]") {
  const Var x = leaf(drawn({2, 3})), other = leaf(drawn({4, 5}));
  const auto found = grad(sum(x), {other, x});
  CHECK(found[0].shape() == Shape{4, 5});
  CHECK(found[0].to_vector<float>() == Floats(20, 0));
  CHECK(found[1].to_vector<float>() == Floats(6, 1));
}

TEST_CASE("what needs no gradient cannot be differentiated, and says so", "[autograd]") {
  const Var constant = Tensor::zeros({2}), x = leaf(drawn({2}));
  CHECK_THROWS_WITH(backward(constant), Contains("requires a gradient"));
  CHECK_THROWS_WITH(grad(sum(x), {constant}), Contains("does not require a gradient"));
  CHECK_THROWS_WITH(backward(x * 2.0, Tensor::zeros({3})), Contains("f32[3]") && Contains("f32[2]"));
  CHECK_THROWS_WITH(backward(x * 2.0, Tensor::zeros({2}, Dtype::f64)), Contains("f64[2]"));
  CHECK_THROWS_WITH((x * 2.0).gradient(), Contains("leaves"));
}

TEST_CASE("two backward calls on fresh graphs add up in the leaves", "[autograd]") {
  const Var x = leaf(Tensor::full({2}, 3)), w = leaf(drawn({4, 2}));
  const auto loss = [&] { return sum(linear(x, w, {})); };
  backward(loss());
  const Tensor once = w.gradient().clone();
  backward(loss());
  CHECK(relative_error(w.gradient(), (Var(once) * 2.0).value()) < 1e-7);
}

TEST_CASE("the upstream gradient weighs the result and is not written to", "[autograd]") {
  const Var x = leaf(drawn({3}));
  const Tensor dy = Tensor::of<float>({3}, Floats{1, 2, 3});
  backward(x + 0.0, dy);
  backward(x + x, dy);
  CHECK(x.gradient().to_vector<float>() == Floats{3, 6, 9});
  CHECK(dy.to_vector<float>() == Floats{1, 2, 3});
}

TEST_CASE("gradients that were handed out do not change afterwards", "[autograd]") {
  const Var x = leaf(drawn({3}));
  const Var h = x * 2.0;
  const auto found = grad(h + h + x, {h, x});
  CHECK(found[0].to_vector<float>() == Floats{2, 2, 2});
  CHECK(found[1].to_vector<float>() == Floats{5, 5, 5});
}

TEST_CASE("frozen inputs and parameters that were not asked for cost no gradients", "[autograd]") {
  std::vector<bool> asked;
  const Var x = leaf(drawn({3})), p = leaf(drawn({3}));
  grad(noting_sum(x, p, asked), {x});
  CHECK(asked == std::vector<bool>{true, false});
  grad(noting_sum(x, p, asked), {p});
  CHECK(asked == std::vector<bool>{false, true});
  backward(noting_sum(x, p, asked));
  CHECK(asked == std::vector<bool>{true, true});
  backward(noting_sum(x, p.detach(), asked));
  CHECK(asked == std::vector<bool>{true, false});
}

TEST_CASE("frozen weights keep no activations for their gradients", "[autograd]") {
  constexpr int64_t kMap = 1 * 32 * 32 * 16 * 4;  // bytes
  const Var image = drawn({1, 32, 32, 16}), weight = drawn({16, 3, 3, 16});
  const auto bytes_kept = [](const Var& x, const Var& w) {
    const size_t before = live_bytes();
    Var h = (x * 2.0).detach();  // a fresh map ...
    if (x.requires_grad()) h = x * 2.0;
    const Var y = conv2d(h, w, {}, {1, Padding::same(1)});
    h = {};  // ... that only the graph may keep
    return static_cast<int64_t>(live_bytes() - before);
  };
  CHECK(bytes_kept(image, weight) == kMap);                    // y alone
  CHECK(bytes_kept(leaf(image.value()), weight) == kMap);      // dx needs the weight, not x
  CHECK(bytes_kept(image, leaf(weight.value())) == 2 * kMap);  // dw needs x
  CHECK(bytes_kept(leaf(image.value()), leaf(weight.value())) == 2 * kMap);
}

TEST_CASE("NoGrad records nothing", "[autograd]") {
  const Var x = leaf(drawn({1024}));
  const size_t before = live_bytes();
  {
    const NoGrad off;
    CHECK_FALSE(recording());
    const Var y = silu(silu(x * 2.0));
    CHECK_FALSE(y.requires_grad());
    CHECK(live_bytes() - before == 4096);  // y alone
    { const NoGrad again; }
    CHECK_FALSE(recording());
  }
  CHECK(recording());
  CHECK(live_bytes() == before);
}

TEST_CASE("an operation's memory is free as soon as the sweep has passed it", "[autograd]") {
  const Var x = leaf(drawn({1024}));
  const size_t before = live_bytes();
  const Var y = sum(silu(silu(silu(x * 2.0))));
  CHECK(live_bytes() > before + 3 * 4096);
  backward(y);
  CHECK(live_bytes() - before == 4096 + 64);  // x's gradient and y, in blocks of 64 bytes at least
}

TEST_CASE("an operation whose backward pass forgets an input is named", "[autograd]") {
  const Var x = leaf(drawn({3}));
  const Var y = record("forgetful", x.value(), {x}, [](const Tensor&, Destinations&) {});
  CHECK_THROWS_WITH(backward(y), Contains("forgetful") && Contains("input 0"));
}

TEST_CASE("an operation whose gradient has another shape is named", "[autograd]") {
  const Var x = leaf(drawn({3}), "conv_in.weight");
  const Var y =
      record("crooked", x.value(), {x}, [](const Tensor&, Destinations& to) { to.set(0, Tensor::zeros({2})); });
  CHECK_THROWS_WITH(backward(y), Contains("conv_in.weight") && Contains("[3]") && Contains("[2]"));
}

TEST_CASE("the gradient check finds a wrong gradient and names its input", "[autograd]") {
  const auto twice = [](const std::vector<Var>& in) {
    return record("twice", (Var(in[1].value()) * 2.0 + Var(in[0].value())).value(), {in[0], in[1]},
                  [](const Tensor& dy, Destinations& to) {
                    to.set(0, dy);
                    to.set(1, (Var(dy) * 2.001).value());
                  });
  };
  const std::vector<Tensor> inputs = {drawn({5}), drawn({5}, 1)};
  CHECK_THROWS_WITH(gradient_check(twice, inputs), Contains("input 1"));
  CHECK_NOTHROW(gradient_check(twice, inputs, 1e-2));
  CHECK(gradient_errors(twice, inputs)[0] < 1e-9);
}

TEST_CASE("a watch hears the operations that are recorded while it lives", "[autograd]") {
  const Var x = leaf(drawn({3}));
  std::vector<std::string> heard;
  {
    const OperationWatch watch([&](const std::string& name) { heard.push_back(name); });
    sum(silu(x));
    const NoGrad off;
    softmax(x);
  }
  relu(x);
  CHECK(heard == std::vector<std::string>{"silu", "sum"});
}

}  // namespace stipple
