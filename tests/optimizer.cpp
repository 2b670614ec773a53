#include "nn/optimizer.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/layers.h"
#include "nn/learning_rate.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace stipple {
namespace {

using Doubles = std::vector<double>;

const nlohmann::json& fixture() {
  static const nlohmann::json json = nlohmann::json::parse(std::ifstream(STIPPLE_FIXTURES "/optim.json"));
  return json;
}

// One parameter "p" of six elements, as the fixture has.
struct Point {
  Parameters parameters;
  Parameter p = parameters.add("p", {6}, Init::constant(0), FileLayout::same);

  explicit Point(Dtype dtype) {
    parameters.allocate(dtype);
    parameters.require_gradients(true);
    p.value().copy_from(Tensor::of({6}, fixture()["start"].get<Doubles>()).to(dtype));
  }
  void set_gradient(const Doubles& gradient) {
    Var(p).node()->gradient.to.copy_from(Tensor::of({6}, gradient).to(p.value().dtype()));
    Var(p).node()->gradient.add = true;
  }
};

AdamOptions adam_options(const nlohmann::json& settings, bool decoupled) {
  return {.beta1 = settings["betas"][0],
          .beta2 = settings["betas"][1],
          .eps = settings["eps"],
          .weight_decay = settings["weight_decay"],
          .decoupled = decoupled};
}

void check_path(const nlohmann::json& settings, bool decoupled, Dtype dtype, double tolerance) {
  Point point(dtype);
  Adam adam(point.parameters, adam_options(settings, decoupled));
  for (size_t k = 0; k < settings["after"].size(); ++k) {
    point.set_gradient(fixture()["gradients"][k]);
    adam.step(settings["lr"], settings["clip"]);
    const Tensor expected = Tensor::of({6}, settings["after"][k].get<Doubles>());
    CHECK(relative_error(point.p.value(), expected) < tolerance);
  }
}

EmaOptions ema_options(const nlohmann::json& options) {
  return {.max_decay = options.value("decay", 0.9999),
          .min_decay = options.value("min_decay", 0.0),
          .update_after_step = options.value("update_after_step", 0),
          .use_warmup = options.value("use_ema_warmup", false),
          .inv_gamma = options.value("inv_gamma", 1.0),
          .power = options.value("power", 2.0 / 3)};
}

LearningRateSchedule schedule(const nlohmann::json& settings) {
  const nlohmann::json& options = settings["options"];
  return {.name = settings["name"],
          .warmup_steps = options.value("num_warmup_steps", 0),
          .total_steps = settings["training_steps"],
          .learning_rate = settings["learning_rate"],
          .num_cycles = options.value("num_cycles", 1.0),
          .power = options.value("power", 1.0)};
}

}  // namespace

TEST_CASE("Adam and AdamW walk PyTorch's paths, clipped and not", "[optimizer]") {
  for (const bool decoupled : {false, true})
    for (const nlohmann::json& settings : fixture()[decoupled ? "adamw" : "adam"]) {
      INFO((decoupled ? "adamw lr " : "adam lr ") << settings["lr"]);
      check_path(settings, decoupled, Dtype::f64, 1e-14);
      check_path(settings, decoupled, Dtype::f32, 1e-6);
    }
}

TEST_CASE("a step returns the norm before clipping, and scales only where it is exceeded", "[optimizer]") {
  Point point(Dtype::f64);
  Adam adam(point.parameters, {});
  point.set_gradient({3, 4, 0, 0, 0, 0});
  CHECK(adam.step(0, 1) == Approx(5));
  CHECK(adam.first_moment().to_vector<double>()[1] == Approx(0.1 * 4 / 5).epsilon(1e-6));
  point.set_gradient({0.3, 0.4, 0, 0, 0, 0});
  const double before = adam.first_moment().to_vector<double>()[1];
  CHECK(adam.step(0, 1) == Approx(0.5));
  CHECK(adam.first_moment().to_vector<double>()[1] == Approx(before + 0.1 * (0.4 - before)).epsilon(1e-12));
}

TEST_CASE("the moving average follows the new values", "[optimizer]") {
  Point point(Dtype::f64);
  Adam adam(point.parameters, {});
  const Tensor ema = Tensor::full(point.parameters.values().shape(), 1, Dtype::f64);
  point.set_gradient({1, -1, 1, -1, 1, -1});
  adam.step(0.1, 0, ema, 0.75);
  for (int i = 0; i < 6; ++i)
    CHECK(ema.to_vector<double>()[i] == Approx(0.75 + 0.25 * point.p.value().to_vector<double>()[i]));
  adam.step(0.1, 0, ema, 0);  // a decay of 0 copies
  for (int i = 0; i < 6; ++i)
    CHECK(ema.to_vector<double>()[i] == Approx(point.p.value().to_vector<double>()[i]).epsilon(1e-14));
}

TEST_CASE("a parameter without a gradient in this step gets zeros, not an old one", "[optimizer]") {
  Point point(Dtype::f64);
  Adam adam(point.parameters, {});
  point.set_gradient({1, 1, 1, 1, 1, 1});
  point.parameters.clear_gradients();
  CHECK(adam.step(0.1, 0) == 0);
}

TEST_CASE("a step whose gradients are not finite changes nothing", "[optimizer]") {
  Point point(Dtype::f64);
  Adam adam(point.parameters, {.weight_decay = 0.1});
  const Tensor before = point.parameters.values().clone(), ema = before.clone();
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    point.set_gradient({1, 1, bad, 1, 1, 1});
    CHECK_FALSE(std::isfinite(adam.step(0.1, 1, ema, 0.5)));
  }
  CHECK(same_bits(point.parameters.values(), before));
  CHECK(same_bits(ema, before));
  CHECK(adam.steps() == 0);
}

TEST_CASE("an optimizer of parameters without gradients says what to do", "[optimizer]") {
  Point point(Dtype::f32);
  Adam adam(point.parameters, {});
  point.parameters.require_gradients(false);
  CHECK_THROWS_WITH(adam.step(0.1, 0), Contains("require_gradients"));
}

TEST_CASE("the arena's padding stays zero through decay, moments and moving average", "[optimizer]") {
  Point point(Dtype::f64);
  Adam adam(point.parameters, {.weight_decay = 0.1});
  const Tensor ema = point.parameters.values().clone();
  for (const Doubles gradient : fixture()["gradients"]) {
    point.set_gradient(gradient);
    adam.step(0.01, 1, ema, 0.9);
  }
  for (const Tensor& arena : {point.parameters.values(), adam.first_moment(), adam.second_moment(), ema}) {
    const Doubles elements = arena.to_vector<double>();
    CHECK(Doubles(elements.begin() + 6, elements.end()) == Doubles(10, 0));
  }
}

TEST_CASE("the decay of the moving average is that of diffusers' EMAModel", "[optimizer]") {
  for (const nlohmann::json& settings : fixture()["ema"]) {
    INFO(settings["options"]);
    const EmaOptions o = ema_options(settings["options"]);
    for (size_t k = 0; k < settings["decay"].size(); ++k)
      CHECK(ema_decay(o, k + 1) == Approx(settings["decay"][k].get<double>()).epsilon(1e-12));
  }
}

TEST_CASE("learning rates are those of diffusers' schedules, past the end too", "[optimizer]") {
  for (const nlohmann::json& settings : fixture()["lr"]) {
    if (settings["name"] == "piecewise_constant") continue;  // its rules are no option of the trainer
    INFO(settings["name"] << ' ' << settings["options"]);
    const LearningRateSchedule s = schedule(settings);
    for (size_t k = 0; k < settings["factor"].size(); ++k)
      CHECK(s.factor(k) == Approx(settings["factor"][k].get<double>()).epsilon(1e-12).margin(1e-15));
  }
}

TEST_CASE("an unknown learning-rate schedule is an error that lists the known ones", "[optimizer]") {
  CHECK_THROWS_WITH(check_learning_rate_schedule("cosin"), Contains("'cosin'") && Contains("cosine_with_restarts"));
  CHECK_THROWS_WITH((LearningRateSchedule{.name = "polynomial", .total_steps = 9}.factor(1)), Contains("polynomial"));
}

}  // namespace stipple
