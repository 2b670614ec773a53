#include "kernels/dropout.h"

#include "autograd/random_stream.h"
#include "tests/compare.h"
#include "tests/op_cases.h"

namespace stipple {
namespace {

int64_t zeros_in(const Tensor& x) {
  const auto elements = x.to_vector<float>();
  return std::count(elements.begin(), elements.end(), 0.f);
}

}  // namespace

OP_CASES(dropout) {
  for (const double p : {0.1, 0.75})
    for (const Shape& shape : {Shape{1}, {3, 17}, {2, 7, 5, 3}, {3, 64, 64, 9}})
      add({.name = fmt::format("p {}", p),
           .inputs = {normal(shape)},
           .call =
               [=](auto& in) {
                 const RandomStream stream(RandomPosition{.seed = 5, .offset = 100});
                 return dropout(in[0], p);
               },
           .bytes = 8.0 * shape.numel()});
}

TEST_CASE("dropout drops the share it is told to, and keeps the mean", "[ops][dropout]") {
  const Tensor ones = Tensor::full({100000}, 1);
  for (const double p : {0.0, 0.1, 0.5, 0.9}) {
    const Tensor y = kernels::dropout(ones, {.p = p, .seed = 1});
    CHECK(zeros_in(y) == Approx(1e5 * p).margin(600));
    double sum = 0;
    for (const float v : y.to_vector<float>()) sum += v;
    CHECK(sum == Approx(1e5).epsilon(0.02));
  }
}

TEST_CASE("dropout without a random stream passes its input on", "[ops][dropout]") {
  const Var x = leaf(Tensor::full({64}, 1));
  CHECK(dropout(x, 0.5).value().shares_storage_with(x.value()));
  const RandomStream open(RandomPosition{.seed = 1});
  CHECK(zeros_in(dropout(x, 0.5).value()) > 0);
  const RandomStream closed(std::nullopt);
  CHECK(zeros_in(dropout(x, 0.5).value()) == 0);
}

TEST_CASE("operations draw from a random stream one after the other, and again the same", "[ops][dropout]") {
  const Tensor ones = Tensor::full({1001}, 1);
  const auto draw_twice = [&](uint64_t seed) {
    const RandomStream stream(RandomPosition{.seed = seed});
    return std::pair(dropout(ones, 0.5).value(), dropout(ones, 0.5).value());
  };
  const auto [first, second] = draw_twice(1);
  CHECK_FALSE(same_bits(first, second));
  CHECK(same_bits(draw_twice(1).second, second));
  CHECK_FALSE(same_bits(draw_twice(2).first, first));
}

TEST_CASE("a checkpointed segment drops the same elements when it runs again", "[ops][dropout][checkpoint]") {
  const Var x = leaf(Tensor::full({1000}, 1));
  const RandomStream stream(RandomPosition{.seed = 3});
  dropout(x, 0.5);  // the segment does not begin where the stream does
  const Var y = checkpoint([&] { return dropout(x, 0.5); });
  dropout(x, 0.5);
  const RandomPosition before = *RandomStream::position();
  CHECK(same_bits(grad(y, {x})[0], y.value()));
  CHECK(RandomStream::position()->offset == before.offset);
}

}  // namespace stipple
