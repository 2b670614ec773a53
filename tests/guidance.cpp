#include "diffusion/guidance.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/ops.h"
#include "diffusion/generate.h"
#include "tensor/allocator.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/peak_memory.h"
#include "tests/tiny_pipeline.h"

// Guidance by a loss: PyTorch's trajectories, and what it keeps and costs.

using namespace stipple;

namespace {

// tests/reference/guidance.py says what these hold.
struct GuidanceFixtures {
  nlohmann::json description;
  SafetensorsFile tensors{STIPPLE_FIXTURES "/guidance.safetensors"};

  GuidanceFixtures() { std::ifstream(STIPPLE_FIXTURES "/guidance.json") >> description; }
  Tensor image(const std::string& name) const { return to_channels_last(tensors.load(name)); }
};

std::unique_ptr<Pipeline> network_of(const nlohmann::json& guided) {
  std::vector<std::string> notices;
  return Pipeline::load(STIPPLE_FIXTURES "/unets/" + guided["unet"].get<std::string>(), notices);
}

Predict predict_of(const Pipeline& pipeline, const nlohmann::json& guided) {
  const auto network = [&](const Var& x, double t, const Tensor& labels) {
    return pipeline.denoiser.unet(x, Tensor::full({x.dim(0)}, t), labels);
  };
  const auto labels = guided["labels"].get<std::vector<int64_t>>();
  if (labels.empty()) return [=](const Var& x, double t) { return network(x, t, {}); };
  return classifier_free(network, Tensor::of({std::ssize(labels)}, labels), 4, guided["guidance_scale"]);
}

// The largest relative distance to a state or predicted clean image of case `number`, and to a loss.
double worst_distance(const GuidanceFixtures& fixtures, size_t number) {
  const nlohmann::json& guided = fixtures.description["cases"][number];
  const std::string prefix = fmt::format("case.{:03}.", number);
  std::vector<std::string> notices;
  const auto config = SchedulerConfig::from_json(guided["config"].dump(), "guidance.json", notices);
  const auto sampler = make_sampler(config.class_name, config, guided["steps"]);
  const auto pipeline = network_of(guided);
  const auto losses = fixtures.tensors.load(prefix + "loss").to_vector<float>();
  const ImageLoss color = color_loss(parse_color(fixtures.description["color"]));
  double worst = 0;
  size_t step = 0;
  const ImageLoss loss = [&](const Var& clean) {
    const Var found = color(clean);
    worst = std::max(worst, std::abs(found.value().item<float>() / losses.at(step) - 1.0));
    return found;
  };
  SamplingOptions options;
  guide(options, {loss, guided["scale"], guide_route(guided["route"])}, *sampler);
  options.on_step = [&](size_t, size_t, const StepResult& result) {
    const std::string k = fmt::format("{:03}", step++);
    worst = std::max(worst, relative_error(result.sample, fixtures.image(prefix + "step." + k)));
    worst = std::max(worst, relative_error(result.clean, fixtures.image(prefix + "x0." + k)));
  };
  const auto noise = [&](const Shape&) { return fixtures.image(fmt::format("noise.{:03}", step)); };
  sample(*sampler, predict_of(*pipeline, guided), fixtures.image("noise"), noise, options);
  REQUIRE(step == losses.size());
  return worst;
}

std::unique_ptr<Pipeline> tiny_pipeline(const ConditioningConfig& conditioning = {}) {
  const bool embeds = conditioning.kind == ClassConditioning::embedding;
  auto pipeline = std::make_unique<Pipeline>(tiny_network(embeds ? conditioning.rows() : 0), conditioning,
                                             SchedulerConfig::defaults("DDIMScheduler"));
  PhiloxGenerator generator(0);
  pipeline->parameters.initialize(generator);
  return pipeline;
}

GenerateOptions towards(double grey, GuideRoute route) {
  GenerateOptions o{.steps = 6, .guide = {color_loss({grey}), 40, route}};
  o.seeds = {1, 2};
  return o;
}

double distance_to(double grey, const Tensor& images) { return color_loss({grey})(images).value().item<float>(); }

}  // namespace

TEST_CASE("guidance by a colour follows PyTorch's at every step, by both routes", "[guidance]") {
  const GuidanceFixtures fixtures;
  const auto& cases = fixtures.description["cases"];
  REQUIRE(cases.size() >= 10);
  for (size_t number = 0; number < cases.size(); ++number) {
    INFO("case " << number << ": " << cases[number].dump());
    CHECK(worst_distance(fixtures, number) <= 1e-4);
  }
}

TEST_CASE("guided pictures are nearer to the colour, with every sampler and by both routes", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  for (const char* sampler : {"ddpm", "ddim", "dpm-solver", "euler", "euler-ancestral", "heun"})
    for (GuideRoute route : {GuideRoute::x0, GuideRoute::unet}) {
      INFO(sampler << (route == GuideRoute::x0 ? " x0" : " unet"));
      GenerateOptions o = towards(0.9, route);
      o.sampler = sampler;
      if (o.sampler == "dpm-solver") o.scheduler = {{"thresholding", "true"}};
      if (o.sampler == "heun") o.scheduler = {{"clip_sample", "true"}};
      if (o.sampler.starts_with("euler")) o.guide.scale = 0.01;  // they never clip
      const double guided = distance_to(0.9, generate(*pipeline, o));
      o.guide.scale = 0;
      const double plain = distance_to(0.9, generate(*pipeline, o));
      CHECK(guided < plain);
    }
}

TEST_CASE("guidance of scale zero draws what no guidance draws", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  for (GuideRoute route : {GuideRoute::x0, GuideRoute::unet}) {
    GenerateOptions o = towards(0.9, route);
    o.guide.scale = 0;
    const Tensor guided = generate(*pipeline, o);
    o.guide = {};
    CHECK(same_bits(guided, generate(*pipeline, o)));
  }
}

TEST_CASE("a picture is pulled as much whatever it is batched with", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  GenerateOptions o = towards(0.9, GuideRoute::unet);
  o.seeds = {1, 2, 3};
  const Tensor together = generate(*pipeline, o);
  o.batch_size = 2;
  CHECK(relative_error(generate(*pipeline, o), together) < 1e-4);
}

TEST_CASE("guidance goes with labels, with classifier-free guidance and with image-to-image", "[guidance]") {
  const auto pipeline = tiny_pipeline(three_classes(true));
  for (GuideRoute route : {GuideRoute::x0, GuideRoute::unet})
    for (double guidance_scale : {1.0, 3.0}) {
      GenerateOptions o = towards(0.9, route);
      o.classes = {0, 2};
      o.guidance_scale = guidance_scale;
      o.init_image = Tensor::zeros({8, 8, 1});
      const double guided = distance_to(0.9, generate(*pipeline, o));
      o.guide = {};
      CHECK(guided < distance_to(0.9, generate(*pipeline, o)));
    }
}

TEST_CASE("a loss of one's own is a lambda", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  GenerateOptions o = towards(0, GuideRoute::unet);
  const auto energy = [](const Tensor& images) { return mean(Var(images) * Var(images)).value().item<float>(); };
  o.guide.loss = [](const Var& clean) { return mean(clean * clean); };
  const double guided = energy(generate(*pipeline, o));
  o.guide = {};
  CHECK(guided < energy(generate(*pipeline, o)));
  o.guide.loss = [](const Var& clean) { return clean * clean; };
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("expected one number"));
}

TEST_CASE("frozen weights are given no gradient, and route x0 records nothing of the network", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  std::set<std::string> recorded;
  const OperationWatch watch([&](const std::string& operation) { recorded.insert(operation); });
  generate(*pipeline, towards(0.9, GuideRoute::x0));
  CHECK(recorded.count("conv2d") == 0);
  CHECK(recorded.count("clamp") == 1);
  generate(*pipeline, towards(0.9, GuideRoute::unet));
  CHECK(recorded.count("conv2d") == 1);
  CHECK_FALSE(pipeline->parameters.gradients().defined());
  for (const Parameter& parameter : pipeline->parameters.all()) { CHECK_FALSE(Var(parameter).requires_grad()); }
}

TEST_CASE("the pictures of a network in training record nothing of it", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  pipeline->parameters.require_gradients(true);
  std::set<std::string> recorded;
  const OperationWatch watch([&](const std::string& operation) { recorded.insert(operation); });
  GenerateOptions o = towards(0.9, GuideRoute::x0);
  generate(*pipeline, o);
  CHECK(recorded.count("conv2d") == 0);
  o.guide = {};
  recorded.clear();
  generate(*pipeline, o);
  CHECK(recorded.empty());
}

TEST_CASE("route unet keeps what the picture's gradient needs and no more; afterwards nothing is left", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  const auto draw = [&](const GenerateOptions& o) { return [&pipeline, o] { generate(*pipeline, o); }; };
  GenerateOptions plain = towards(0.9, GuideRoute::x0);
  plain.guide = {};
  draw(plain)();
  const size_t live = cpu_allocator().stats().live;
  const size_t unguided = peak_memory(draw(plain)), x0 = peak_memory(draw(towards(0.9, GuideRoute::x0))),
               frozen = peak_memory(draw(towards(0.9, GuideRoute::unet)));
  CHECK(cpu_allocator().stats().live == live);
  pipeline->parameters.require_gradients(true);
  const size_t trained = peak_memory(draw(towards(0.9, GuideRoute::unet)));
  INFO("peak bytes: unguided " << unguided << ", x0 " << x0 << ", unet " << frozen
                               << ", unet with weights that want gradients " << trained);
  CHECK(x0 <= unguided * 1.1);
  CHECK(frozen > unguided);
  CHECK(frozen < trained);
}

TEST_CASE("guidance moves the picture once a step, Heun's second look apart", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  int calls = 0;
  GenerateOptions o = towards(0.9, GuideRoute::x0);
  o.guide.loss = [&](const Var& clean) { return ++calls, mean(clean); };
  o.guide.scale = 0.01;
  for (const char* sampler : {"heun", "ddim"}) {
    calls = 0;
    o.sampler = sampler;
    generate(*pipeline, o);
    CHECK(calls == o.steps);
  }
}

TEST_CASE("guidance refuses what it cannot do", "[guidance]") {
  const auto pipeline = tiny_pipeline();
  GenerateOptions o = towards(0.5, GuideRoute::x0);
  o.guide.scale = NAN;
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("scale is nan"));
  o = towards(0.5, GuideRoute::x0);
  o.sampler = "ddim-inverse";
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("DDIMInverseScheduler"));
  o = towards(0.5, GuideRoute::x0);
  o.scheduler = {{"prediction_type", "sample"}};
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("predicts the clean image itself"));
  o.guide.route = GuideRoute::unet;
  CHECK_NOTHROW(generate(*pipeline, o));
  o.guide.loss = color_loss({1, 0, 0});
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("3 channels for images of 1"));
  CHECK_THROWS_WITH(guide_route("image"), Contains("there are x0, unet"));
  for (const char* color : {"", "#", "#55FFA", "#55FFAAA", "55FFAG", "red", "##55FFAA", "-55FFA"})
    CHECK_THROWS_WITH(parse_color(color), Contains("is no colour"));
  CHECK(parse_color("#00ff80")[1] == 1);
}
