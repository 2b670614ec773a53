#include "diffusion/sampling.h"

#include "autograd/ops/arithmetic.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

Tensor images(std::vector<float> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  return Tensor::of<float>({n, 1, 1, 1}, values);
}

// Answers x + its image's label.
Var labelled(const Var& x, double, const Tensor& labels) {
  Tensor y = x.value().clone();
  for (int64_t n = 0; n < x.dim(0); ++n)
    y.mutable_data<float>()[n] += static_cast<float>(labels.to_vector<int64_t>().at(n));
  return y;
}

Tensor no_noise(const Shape&) { fail("this sampler draws no noise"); }

std::unique_ptr<Sampler> ddim(int64_t steps) { return make_sampler("ddim", SchedulerConfig{}, steps); }

}  // namespace

TEST_CASE("classifier-free guidance goes from the answer without a label through the one with it", "[sampling]") {
  const Tensor labels = Tensor::of<int64_t>({2}, std::vector<int64_t>{3, 5}), x = images({1, 2});
  // Without: x + 10. With: x + 3 and x + 5.
  CHECK(classifier_free(labelled, labels, 10, 0)(x, 7).value().to_vector<float>() == std::vector<float>{11, 12});
  CHECK(classifier_free(labelled, labels, 10, 1)(x, 7).value().to_vector<float>() == std::vector<float>{4, 7});
  CHECK(classifier_free(labelled, labels, 10, 3)(x, 7).value().to_vector<float>() == std::vector<float>{-10, -3});
}

TEST_CASE("classifier-free guidance asks the network once a step, with both halves", "[sampling]") {
  std::vector<int64_t> sizes;
  const auto network = [&](const Var& x, double t, const Tensor& y) {
    sizes.push_back(x.dim(0));
    return labelled(x, t, y);
  };
  const Tensor labels = Tensor::of<int64_t>({2}, std::vector<int64_t>{3, 5});
  classifier_free(network, labels, 10, 2)(images({1, 2}), 7);
  classifier_free(network, labels, 10, 1)(images({1, 2}), 7);
  CHECK(sizes == std::vector<int64_t>{4, 2});
}

TEST_CASE("the loop tells the network the sampler's timesteps and reports every step", "[sampling]") {
  std::vector<double> told;
  std::vector<size_t> reported;
  SamplingOptions options;
  options.first = 1;
  options.on_step = [&](size_t index, size_t total, const StepResult&) {
    CHECK(total == 4);
    reported.push_back(index);
  };
  const auto network = [&](const Var& x, double t) {
    told.push_back(t);
    return x;
  };
  sample(*ddim(4), network, images({1}), no_noise, options);
  CHECK(told == std::vector<double>{500, 250, 0});
  CHECK(reported == std::vector<size_t>{1, 2, 3});
  options.first = 4;
  CHECK_THROWS_AS(sample(*ddim(4), network, images({1}), no_noise, options), Error);
}

TEST_CASE("a trajectory stops where it is cancelled", "[sampling]") {
  int calls = 0;
  SamplingOptions options;
  options.cancelled = [&] { return calls == 2; };
  const auto network = [&](const Var& x, double) {
    ++calls;
    return x;
  };
  CHECK_FALSE(sample(*ddim(5), network, images({1}), no_noise, options).defined());
  CHECK(calls == 2);
}

TEST_CASE("a guide moves the image before the step, and leaves the caller's start alone", "[sampling]") {
  const auto zero = [](const Var& x, double) { return Tensor::zeros(x.shape()); };
  const Tensor start = images({0.01f});
  SamplingOptions options;
  options.first = 4;
  options.guide = [](size_t, Var& x, Var&) { x = x + 0.25; };
  const Tensor moved = sample(*ddim(5), zero, start, no_noise, options);
  const Tensor same = sample(*ddim(5), zero, images({0.26f}), no_noise, {.first = 4});
  CHECK(moved.item<float>() == same.item<float>());
  CHECK(start.item<float>() == 0.01f);
}

TEST_CASE("what on_step puts into the result is what the trajectory goes on from", "[sampling]") {
  SamplingOptions options;
  options.on_step = [](size_t, size_t, StepResult& result) { result.sample = images({0.5f}); };
  const auto network = [](const Var& x, double t) {
    if (t < 800) CHECK(x.value().item<float>() == 0.5f);
    return x;
  };
  CHECK(sample(*ddim(5), network, images({1}), no_noise, options).item<float>() == 0.5f);
}

TEST_CASE("a network that answers another shape is named by the sampler", "[sampling]") {
  const auto network = [](const Var&, double) { return images({1, 2}); };
  CHECK_THROWS_WITH(sample(*ddim(5), network, images({1}), no_noise),
                    "sampler: the network answers f32[2,1,1,1] for f32[1,1,1,1]");
}
