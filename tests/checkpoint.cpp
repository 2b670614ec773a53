#include "tensor/allocator.h"
#include "tensor/random.h"
#include "tests/compare.h"
#include "tests/op_cases.h"

namespace stipple {
namespace {

Tensor drawn(const Shape& shape, uint64_t seed = 0) {
  PhiloxGenerator generator(seed);
  return normal(generator, shape);
}

size_t live_bytes() { return cpu_allocator().stats().live; }

// Runs a segment, or checkpoints it.
using Run = std::function<Var(const std::function<Var()>&)>;
const Run kDirectly = [](const std::function<Var()>& segment) { return segment(); };
const Run kCheckpointed = [](const std::function<Var()>& segment) { return checkpoint(segment); };

struct Weights {
  Var x = leaf(drawn({2, 4, 4, 6})), conv = leaf(drawn({6, 3, 3, 6}, 1)), bias = leaf(drawn({6}, 2)),
      gamma = leaf(drawn({6}, 3));
  std::vector<Var> all() const { return {x, conv, bias, gamma}; }
};

using Network = std::function<Var(const Weights&, const Run&)>;

Var block(const Weights& w, const Var& x) {
  return x +
         conv2d(group_norm(x, w.gamma, w.bias, {.groups = 2, .silu = true}), w.conv, {w.bias}, {1, Padding::same(1)});
}

struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;
};

Outcome by_grad(const Network& network, const Run& run) {
  const Weights w;
  const Var y = network(w, run);
  return {y.value(), grad(y, w.all(), drawn(y.shape(), 9))};
}

Outcome by_backward(const Network& network, const Run& run) {
  const Weights w;
  const Var y = network(w, run);
  backward(y, drawn(y.shape(), 9));
  std::vector<Tensor> gradients;
  for (const Var& v : w.all()) gradients.push_back(v.gradient() ? v.gradient() : Tensor::zeros(v.shape()));
  return {y.value(), gradients};
}

// Sums of gradients may meet in another order: the last bits may differ.
void check_equal(const Outcome& a, const Outcome& b) {
  CHECK(same_bits(a.y, b.y));
  for (size_t i = 0; i < a.gradients.size(); ++i) CHECK(relative_error(a.gradients[i], b.gradients[i]) < 1e-5);
}

void check_same(const Network& network) {
  const size_t before = live_bytes();
  check_equal(by_grad(network, kCheckpointed), by_grad(network, kDirectly));
  check_equal(by_backward(network, kCheckpointed), by_backward(network, kDirectly));
  CHECK(live_bytes() == before);
}

}  // namespace

OP_CASES(checkpoint) {
  add({.inputs = {normal({2, 7, 5, 6}), normal({6, 3, 3, 6}), normal({6})},
       .call =
           [](auto& in) {
             return checkpoint([in] { return silu(conv2d(in[0], in[1], {in[2]}, {1, Padding::same(1)})) * in[0]; });
           },
       .tolerance = 3e-6});
}

TEST_CASE("a checkpointed segment has the same values and gradients", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) { return run([&w] { return block(w, block(w, w.x)); }); });
}

TEST_CASE("checkpointed segments one after the other", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    Var h = w.x;
    for (int i = 0; i < 4; ++i) h = run([&w, h] { return block(w, h); });
    return h;
  });
}

TEST_CASE("checkpoints may be nested", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    return run([&w, run] {
      const Var h = run([&w] { return block(w, w.x); });
      return run([&w, run, h] { return run([&w, h] { return block(w, h); }) + h; });
    });
  });
}

TEST_CASE("a segment may capture inner results, and what they were made from", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    const Var h = silu(w.x);
    const Var inside = run([&w, h] { return h * w.x + block(w, h); });
    return inside + h * 3.0;
  });
}

TEST_CASE("a segment may use a long history at two depths", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    const Var a = silu(w.x), b = block(w, a), c = b * a;
    return run([a, b, c] { return c * a + b; }) * b;
  });
}

TEST_CASE("a segment may return what it was given", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    const Var h = silu(w.x);
    return run([h] { return h; }) + run([&w] { return w.x; });
  });
  const Var constant = drawn({3});
  CHECK_FALSE(checkpoint([&] { return constant; }).requires_grad());
}

TEST_CASE("a segment may touch what it does not return", "[checkpoint]") {
  check_same([](const Weights& w, const Run& run) {
    return run([&w] {
             block(w, w.x);
             const NoGrad off;
             const Var scale = silu(w.gamma);
             return Var(w.x.value()) * scale;
           }) +
           run([&w] {
             block(w, w.x);
             return silu(w.x);
           });
  });
}

TEST_CASE("a checkpoint inside NoGrad only runs its segment", "[checkpoint]") {
  const Weights w;
  int runs = 0;
  const NoGrad off;
  const Var y = checkpoint([&] { return ++runs, block(w, w.x); });
  CHECK_FALSE(y.requires_grad());
  CHECK(runs == 1);
}

TEST_CASE("a segment runs once forward and once backward", "[checkpoint]") {
  const Weights w;
  int runs = 0;
  const Var y = checkpoint([&] { return ++runs, block(w, w.x); });
  CHECK(runs == 1);
  backward(y);
  CHECK(runs == 2);
  CHECK_THROWS_WITH(backward(y), Contains("checkpoint"));
}

TEST_CASE("a checkpointed segment keeps nothing but its result", "[checkpoint]") {
  const Weights w;
  const size_t before = live_bytes();
  const Var y = checkpoint([&] { return block(w, block(w, block(w, w.x))); });
  CHECK(live_bytes() - before == y.value().nbytes());
}

TEST_CASE("frozen parameters stay frozen in a checkpointed segment", "[checkpoint]") {
  const Weights w;
  const Var y = checkpoint([&] { return conv2d(w.x, w.conv.detach(), {w.bias}, {1, Padding::same(1)}); });
  backward(y);
  CHECK(w.x.gradient().defined());
  CHECK(w.bias.gradient().defined());
  CHECK_FALSE(w.conv.gradient().defined());
}

TEST_CASE("what a segment does inside NoGrad gets no gradient", "[checkpoint]") {
  const Weights w;
  backward(checkpoint([&] {
             const NoGrad off;
             return silu(w.gamma);
           }) +
           silu(w.bias));
  CHECK(w.bias.gradient().defined());
  CHECK_FALSE(w.gamma.gradient().defined());
}

TEST_CASE("a chain of checkpoints is destroyed without recursion", "[checkpoint]") {
  const Var x = leaf(Tensor::full({}, 1));
  Var y = x;
  for (int i = 0; i < 200000; ++i) y = checkpoint([y] { return affine(y, 1, 1e-6); });
  SECTION("swept") { CHECK(grad(y, {x})[0].item<float>() == 1); }
  SECTION("not swept") { CHECK(y.requires_grad()); }
}

TEST_CASE("an error inside a segment leaves recording as it was", "[checkpoint]") {
  const Var x = leaf(drawn({3}));
  CHECK_THROWS_WITH(checkpoint([&]() -> Var { fail("no"); }), Contains("no"));
  CHECK(recording());
  CHECK(silu(x).requires_grad());
}

}  // namespace stipple
