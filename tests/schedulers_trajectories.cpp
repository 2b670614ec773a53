#include <algorithm>

#include "tests/scheduler_fixtures.h"

// Every trajectory of the fixtures, walked again.

using namespace stipple;

namespace {

// The network of the fixtures: 0.8 x + 0.4 cos(2 x + t / 100), and for learned variances x^2 / 10 in as many channels.
Tensor network(const Tensor& x, double t, bool variance) {
  const int64_t channels = x.dim(-1), outputs = variance ? 2 * channels : channels;
  Tensor y({x.dim(0), x.dim(1), x.dim(2), outputs}, x.dtype());
  for_real("network", x.dtype(), [&]<typename T>(T) {
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double v = from[i];
      const int64_t at = i / channels * outputs + i % channels;
      to[at] = static_cast<T>(0.8 * v + 0.4 * std::cos(2 * v + t / 100));
      if (variance) to[at + channels] = static_cast<T>(v * v / 10);
    }
  });
  return y;
}

StepOptions step_options(const nlohmann::json& options) {
  StepOptions o;
  const auto read = [&](const char* name, auto& to) {
    if (options.contains(name)) to = options[name].get<typename std::decay_t<decltype(to)>::value_type>();
  };
  read("eta", o.eta);
  read("use_clipped_model_output", o.use_clipped_model_output);
  read("s_churn", o.s_churn);
  read("s_tmin", o.s_tmin);
  read("s_tmax", o.s_tmax);
  read("s_noise", o.s_noise);
  return o;
}

// Relative distances to every state and every predicted clean image of case `number`. diffusers' solvers round the
// state to f32 before a step: what that makes of a state that shrinks by thousands (from sigma = 20,000 to 3) is let
// pass.
std::vector<double> distances(const SchedulerFixtures& fixtures, size_t number, Sampler& sampler, Dtype dtype) {
  size_t call = 0;
  double rounding = 0;
  std::vector<double> found;
  const auto compare = [&](const char* what, const Tensor& got) {
    const std::string name = fmt::format("case.{:03}.{}.{:03}", number, what, call);
    if (!fixtures.tensors.contains(name)) return;
    const Tensor expected = fixtures.image(name, dtype);
    found.push_back(std::max(0.0, distance(got, expected) - rounding) / norm(expected));
  };
  const auto noise = [&](const Shape&) { return fixtures.image(fmt::format("noise.{:03}", call), dtype); };
  const bool variance = sampler.config().variance_type.starts_with("learned");
  SamplingOptions options;
  options.guide = [&](size_t, Var& x, Var&) { rounding = 0x1p-24 * norm(x.value()); };
  options.on_step = [&](size_t, size_t, const StepResult& result) {
    compare("step", result.sample);
    compare("x0", result.clean);
    ++call;
  };
  const auto predict = [&](const Var& x, double t) { return network(x.value(), t, variance); };
  sample(sampler, predict, fixtures.image("sample", dtype), noise, options);
  return found;
}

}  // namespace

TEST_CASE("samplers agree with diffusers on every trajectory of the fixtures", "[schedulers]") {
  const SchedulerFixtures fixtures;
  const auto& cases = fixtures.cases["cases"];
  size_t compared = 0, close = 0;
  for (size_t number = 0; number < cases.size(); ++number) {
    const nlohmann::json& expected = cases[number];
    INFO("case " << number << ": " << expected.dump());
    std::vector<std::string> notices;
    const SchedulerConfig config = SchedulerConfig::from_json(expected["config"].dump(), "schedulers.json", notices);
    auto sampler = make_sampler(config.class_name, config, expected["steps"], step_options(expected["options"]));
    CHECK(notices.empty());
    const auto timesteps = expected["timesteps"].get<std::vector<double>>();
    REQUIRE(sampler->timesteps().size() == timesteps.size());
    for (size_t i = 0; i < timesteps.size(); ++i) CHECK(sampler->timesteps()[i] == Approx(timesteps[i]).epsilon(1e-6));
    for (Dtype dtype : {Dtype::f64, Dtype::f32}) {
      const auto errors = distances(fixtures, number, *sampler, dtype);
      const double largest = *std::max_element(errors.begin(), errors.end());
      INFO(name_of(dtype));
      CHECK(largest <= 1e-4);
      compared += errors.size();
      close += std::count_if(errors.begin(), errors.end(), [](double e) { return e <= 1e-5; });
    }
  }
  CHECK(cases.size() == 155);
  CHECK(static_cast<double>(close) >= 0.99 * static_cast<double>(compared));
}
