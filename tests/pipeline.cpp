#include "diffusion/pipeline.h"

#include <filesystem>
#include <sstream>

#include "diffusion/forward.h"
#include "diffusion/generate.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/tiny_pipeline.h"

// Pipelines on disk, the networks they hold, and drawing with them.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Pipeline> load(const std::string& folder) {
  std::vector<std::string> notices;
  auto pipeline = Pipeline::load(folder, notices);
  CHECK(notices.empty());
  return pipeline;
}

ForwardInputs inputs(bool labelled) {
  PhiloxGenerator generator(1);
  return {normal(generator, {2, 8, 8, 1}),
          Tensor::full({2}, 300, Dtype::i64),
          labelled ? Tensor::full({2}, 2, Dtype::i64) : Tensor(),
          {}};
}

Tensor answer(Pipeline& pipeline, bool labelled) { return forward(pipeline, inputs(labelled))[0].second; }

std::string shape_in_files(const Parameter& p) {
  Shape s = p.shape();
  if (p.layout() == FileLayout::oihw) s = {s[0], s[3], s[1], s[2]};
  std::string text;
  for (int64_t side : s) text += (text.empty() ? "" : ",") + std::to_string(side);
  return text;
}

// The fixture's form: the number of parameters, then a line a tensor, by name.
std::string listing(const UNet2DConfig& config) {
  Parameters parameters;
  const UNet2DModel unet(Scope(parameters), config);
  std::map<std::string, std::string> lines;
  for (const Parameter& p : parameters.all()) lines[p.name()] = shape_in_files(p);
  std::string text = std::to_string(parameters.count()) + "\n";
  for (const auto& [name, shape] : lines) text += name + " " + shape + "\n";
  return text;
}

GenerateOptions three_steps(const std::string& sampler) {
  GenerateOptions o;
  o.sampler = sampler;
  o.steps = 3;
  o.seeds = {4, 9};
  return o;
}

}  // namespace

TEST_CASE("known networks have diffusers' parameters, by number, name and shape", "[pipeline]") {
  const std::map<std::string, int64_t> counts{{"mnist", 1707009},
                                              {"mnist-classes", 1708161},
                                              {"butterflies-32", 18536323},
                                              {"ddpm-cifar10-32", 35746307},
                                              {"ddpm-256", 113673219}};
  for (const auto& [name, count] : counts) {
    INFO(name);
    const std::string path = std::string(STIPPLE_FIXTURES "/networks/") + name;
    std::vector<std::string> notices;
    const std::string ours = listing(UNet2DConfig::from_json(read_file(path + ".json"), path, notices));
    CHECK(ours == read_file(path + ".txt"));
    CHECK(ours.starts_with(std::to_string(count) + "\n"));
  }
}

TEST_CASE("a pipeline that was saved and loaded answers with the same bits", "[pipeline]") {
  ConditioningConfig channels = three_classes(true);
  channels.kind = ClassConditioning::channels;
  channels.class_names = {"arc", "bow", "cup"};
  for (const ConditioningConfig& conditioning :
       {ConditioningConfig{}, three_classes(false), three_classes(true), channels}) {
    INFO(name_of(conditioning.kind));
    const ScratchFolder folder;
    const bool labelled = conditioning.kind != ClassConditioning::none;
    UNet2DConfig config = tiny_network(conditioning.kind == ClassConditioning::embedding ? conditioning.rows() : 0);
    if (conditioning.kind == ClassConditioning::channels) config.in_channels += conditioning.planes;
    Pipeline saved(config, conditioning, {.beta_schedule = "squaredcos_cap_v2", .prediction_type = "v_prediction"});
    PhiloxGenerator generator(3);
    saved.parameters.initialize(generator);
    saved.save(folder / "model", saved.parameters.values());
    const auto loaded = load(folder / "model");
    CHECK(same_bits(answer(saved, labelled), answer(*loaded, labelled)));
    CHECK(loaded->scheduler.to_json() == saved.scheduler.to_json());
    CHECK(loaded->denoiser.unet.config.to_json() == config.to_json());
    CHECK(loaded->denoiser.conditioning.to_json() == conditioning.to_json());
  }
}

TEST_CASE("a network in one flat folder loads, with a notice about its scheduler", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto nested = load(folder / "model");
  std::vector<std::string> notices;
  const auto flat = Pipeline::load(folder / "model/unet", notices);
  CHECK(same_bits(answer(*nested, false), answer(*flat, false)));
  REQUIRE(notices.size() == 1);
  CHECK_THAT(notices[0], Contains("no scheduler_config.json"));
}

TEST_CASE("the weights that are saved are those of the arena that was given", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto pipeline = load(folder / "model");
  const Tensor average = pipeline->parameters.values().clone();
  std::fill_n(average.mutable_data<float>(), average.numel(), 0.25f);
  pipeline->save(folder / "averaged", average);
  CHECK(load(folder / "averaged")->parameters.find("conv_in.bias").value().to_vector<float>() ==
        std::vector<float>(8, 0.25f));
}

TEST_CASE("a conditioning that contradicts the network is an error", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model", three_classes(true));
  edit_file(folder / "model/conditioning/config.json", "\"label_dropout\": true", "\"label_dropout\": false");
  CHECK_THROWS_WITH(load(folder / "model"), Contains("4 rows of class embedding"));
}

TEST_CASE("an image depends on its own seed alone", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto pipeline = load(folder / "model");
  for (const std::string rng : {"philox", "torch"}) {
    GenerateOptions o = three_steps("ddpm");
    o.rng = rng;
    const Tensor both = generate(*pipeline, o);
    o.batch_size = 1;
    CHECK(relative_error(generate(*pipeline, o), both) < 1e-5);
    o.seeds = {9};
    CHECK(relative_error(generate(*pipeline, o), both.slice(1, 2)) < 1e-5);
    o.seeds = {10};
    CHECK(relative_error(generate(*pipeline, o), both.slice(1, 2)) > 0.1);
  }
}

TEST_CASE("prepared noise walks the path that its seeds would have", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const auto pipeline = load(folder / "model");
  std::vector<std::unique_ptr<Generator>> generators;
  for (uint64_t seed : {4, 9}) generators.push_back(make_generator("philox", seed));
  std::vector<std::pair<std::string, Tensor>> noise{{"noise", normal_per_image(generators, {2, 1, 8, 8})}};
  for (const char* name : {"noise.000", "noise.001"})
    noise.emplace_back(name, normal_per_image(generators, {2, 1, 8, 8}));
  save_safetensors(folder / "noise.safetensors", noise);
  GenerateOptions o = three_steps("ddpm");  // its last step draws nothing
  const Tensor seeded = generate(*pipeline, o);
  o.seeds.clear();
  o.noise_file = folder / "noise.safetensors";
  o.trajectory_file = folder / "path.safetensors";
  CHECK(same_bits(generate(*pipeline, o), seeded));
  const SafetensorsFile path(o.trajectory_file);
  CHECK(path.names() == std::vector<std::string>{"step.000", "step.001", "step.002", "x0.000", "x0.001", "x0.002"});
  CHECK(same_bits(path.load("step.002"), to_channels_first(seeded)));
  CHECK(same_bits(path.load("x0.002"), path.load("step.002")));
  for (float v : path.load("x0.000").to_vector<float>()) CHECK(std::abs(v) <= 1);
  noise.pop_back();
  save_safetensors(o.noise_file, noise);
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("'noise.001' is needed and missing"));
}

TEST_CASE("guidance at scale 1 is the class alone, and moves away from no label above", "[pipeline]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model", three_classes(true));
  const auto pipeline = load(folder / "model");
  GenerateOptions o = three_steps("ddim");
  o.classes = {0, 2};
  const Tensor plain = generate(*pipeline, o);
  o.guidance_scale = 1.0000001;
  CHECK(relative_error(generate(*pipeline, o), plain) < 1e-4);
  o.guidance_scale = 4;
  CHECK(relative_error(generate(*pipeline, o), plain) > 1e-3);
}
