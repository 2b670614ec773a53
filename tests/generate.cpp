#include "diffusion/generate.h"

#include "diffusion/film.h"
#include "diffusion/image/fit.h"
#include "diffusion/image/grid.h"
#include "tests/catch.h"
#include "tests/command_result.h"
#include "tests/compare.h"
#include "tests/tiny_pipeline.h"

// Drawing with a pipeline: PyTorch's own pictures, image-to-image, inversion, interpolation, films.

using namespace stipple;

namespace {

std::unique_ptr<Pipeline> tiny_pipeline(const SchedulerConfig& scheduler = {}) {
  auto pipeline = std::make_unique<Pipeline>(tiny_network(), ConditioningConfig{}, scheduler);
  PhiloxGenerator generator(0);
  pipeline->parameters.initialize(generator);
  return pipeline;
}

// What diffusers' fast pipeline tests draw with: weights and noise of torch.manual_seed(0), two steps.
Tensor fast_test(const char* sampler) {
  std::vector<std::string> notices;
  const auto config = UNet2DConfig::from_json(R"({"sample_size": 8, "in_channels": 3, "out_channels": 3,
      "layers_per_block": 1, "block_out_channels": [4, 8], "norm_num_groups": 4,
      "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]})",
                                              "config.json", notices);
  Pipeline pipeline(config, {}, {});
  const auto generator = make_generator("torch", 0);
  pipeline.parameters.initialize(*generator);
  return generate(pipeline, {.sampler = sampler, .steps = 2, .seeds = {0}, .rng = "torch"});
}

// Blue of the last three rows and columns, as a picture of values 0 to 1.
void check_corner(const Tensor& images, const std::vector<double>& expected) {
  for (int64_t i = 0; i < 9; ++i) {
    const float value = images.data<float>()[((5 + i / 3) * 8 + 5 + i % 3) * 3 + 2];
    CHECK(std::clamp(value / 2 + 0.5, 0.0, 1.0) == Approx(expected[i]).margin(1e-4));
  }
}

Tensor picture() { return to_tensor(tiny_picture(3)); }

GenerateOptions from_picture(double strength) {
  GenerateOptions o{.sampler = "ddim", .steps = 10, .seeds = {4}};
  o.init_image = picture();
  o.strength = strength;
  return o;
}

double distance_to_picture(const Tensor& images) { return relative_error(images[0], picture()); }

}  // namespace

TEST_CASE("--rng torch draws the pictures of diffusers' fast pipeline tests", "[generate]") {
  check_corner(fast_test("ddpm"), {0, 0.999667, 0.003291, 1, 0.999599, 1, 0.006091, 0.001150, 0});
  check_corner(fast_test("ddim"), {0, 0.997975, 0, 0.999980, 0.998629, 0.999160, 0.000711, 0, 0});
}

TEST_CASE("image-to-image stays the nearer to the image the less strength it has", "[generate]") {
  const auto pipeline = tiny_pipeline();
  const double little = distance_to_picture(generate(*pipeline, from_picture(0.1)));
  const double much = distance_to_picture(generate(*pipeline, from_picture(0.9)));
  CHECK(little < 0.3);
  CHECK(much > 2 * little);
}

TEST_CASE("image-to-image walks the last steps only, with every sampler", "[generate]") {
  const auto pipeline = tiny_pipeline();
  for (const char* sampler : {"ddpm", "ddim", "dpm-solver", "euler", "euler-ancestral", "heun"}) {
    INFO(sampler);
    GenerateOptions o = from_picture(0.3);
    o.sampler = sampler;
    int calls = 0;
    o.watch = [&](const Tensor&, const Tensor&, int64_t, int64_t) { ++calls; };
    const Tensor images = generate(*pipeline, o);
    CHECK(calls == (std::string(sampler) == "heun" ? 5 : 3));
    CHECK(distance_to_picture(images) < 2);
  }
}

TEST_CASE("image-to-image refuses what it cannot do", "[generate]") {
  const auto pipeline = tiny_pipeline();
  CHECK_THROWS_WITH(generate(*pipeline, from_picture(0.05)), Contains("leaves no step to walk"));
  CHECK_THROWS_WITH(generate(*pipeline, from_picture(1.5)), Contains("strength is 1.5"));
  GenerateOptions o = from_picture(0.5);
  o.height = o.width = 16;
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("the image is f32[8,8,1], expected f32[16,16,1]"));
  o = from_picture(0.5);
  o.invert = true;
  o.sampler = "euler";
  CHECK_THROWS_WITH(generate(*pipeline, o), Contains("--sampler ddim"));
}

TEST_CASE("an image is inverted to noise and reconstructed, the better the more steps there are", "[generate]") {
  const auto pipeline = tiny_pipeline({.beta_end = 0.002});  // little noise: the network is not trained
  GenerateOptions o = from_picture(1);
  o.invert = true;
  o.scheduler = {{"clip_sample", "false"}};
  o.steps = 10;
  const double coarse = distance_to_picture(generate(*pipeline, o));
  o.steps = 200;
  const double fine = distance_to_picture(generate(*pipeline, o));
  CHECK(fine < 0.1);
  CHECK(fine < coarse / 4);
}

TEST_CASE("interpolation goes from one seed's image to the other's", "[generate]") {
  const auto pipeline = tiny_pipeline();
  GenerateOptions o{.sampler = "ddim", .steps = 3, .batch_size = 2};
  o.interpolate = Interpolation{5, 9, 4};
  const Tensor between = generate(*pipeline, o);
  o.interpolate.reset();
  o.seeds = {5, 9};
  const Tensor ends = generate(*pipeline, o);
  REQUIRE(between.dim(0) == 4);
  CHECK(same_bits(between.slice(0, 1), ends.slice(0, 1)));
  CHECK(relative_error(between.slice(3, 4), ends.slice(1, 2)) < 1e-5);
  CHECK(relative_error(between.slice(1, 2), ends.slice(0, 1)) > 1e-3);
}

TEST_CASE("slerp keeps the length of noise", "[generate]") {
  const auto unit = [](float x, float y) { return Tensor::of<float>({2}, std::vector<float>{x, y}); };
  const auto middle = slerp(unit(1, 0), unit(0, 1), 1 / 3.0).to_vector<float>();
  CHECK(middle[0] == Approx(std::cos(M_PI / 6)));
  CHECK(middle[1] == Approx(std::sin(M_PI / 6)));
  CHECK(slerp(unit(1, 2), unit(1, 2), 0.7).to_vector<float>()[1] == Approx(2));
}

TEST_CASE("a film keeps every so many steps and the last, states above clean images", "[generate]") {
  const auto images = [](double value) { return Tensor::full({2, 4, 4, 1}, value); };
  Film film(3);
  for (int64_t step = 1; step <= 7; ++step) film.add(images(-1), images(1), step, 7);
  REQUIRE(film.size() == 3);
  const Image strip = film.strip();
  CHECK(strip.width == 3 * 6 + 2);
  CHECK(strip.height == 4 * 6 + 2);
  for (int64_t row = 0; row < 4; ++row) CHECK(*strip.at(2 + 6 * row, 2) == (row % 2 ? 255 : 0));
  CHECK(*film.frame(0, 2).at(2, 2) == 255);
  Film ten;
  for (int64_t step = 1; step <= 100; ++step) ten.add(images(0), images(0), step, 100);
  CHECK(ten.size() == 10);
}

TEST_CASE("the states that are watched have the variance the network sees", "[generate]") {
  const auto pipeline = tiny_pipeline();
  for (const char* sampler : {"ddim", "euler"}) {
    GenerateOptions o{.sampler = sampler, .steps = 5, .scheduler = {{"prediction_type", "sample"}}, .seeds = {1}};
    double largest = 0;
    o.watch = [&](const Tensor& x, const Tensor&, int64_t, int64_t) {
      for (float v : x.to_vector<float>()) largest = std::max<double>(largest, std::abs(v));
    };
    generate(*pipeline, o);
    CHECK(largest < 8);
  }
}

TEST_CASE("a picture is fitted from its middle", "[generate]") {
  Image wide(2, 6, 1);
  for (int64_t y = 0; y < 2; ++y)
    for (int64_t x = 0; x < 6; ++x) *wide.at(y, x) = static_cast<uint8_t>(x < 2 ? 10 : x < 4 ? 100 : 200);
  const Image fitted = fit_picture(wide, 4, 4, 3);
  CHECK(fitted.height == 4);
  CHECK(fitted.channels == 3);
  CHECK(fitted.pixels == std::vector<uint8_t>(48, 100));
}

TEST_CASE("a network that has learned its timesteps draws at those it knows, and trains with grids", "[generate]") {
  UNet2DConfig config = tiny_network();
  config.time_embedding_type = TimeEmbedding::learned;
  config.num_train_timesteps = 1000;
  Pipeline pipeline(config, {}, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  for (const char* sampler : {"ddpm", "ddim", "dpm-solver"})
    CHECK(generate(pipeline, {.sampler = sampler, .steps = 3, .seeds = {0}}).dim(0) == 1);
  CHECK_THROWS_WITH(generate(pipeline, {.sampler = "euler", .steps = 5, .seeds = {0}}),
                    Contains("asks for timestep 749.25") && Contains("\"learned\""));
  pipeline.scheduler.num_train_timesteps = 2000;
  CHECK_THROWS_WITH(generate(pipeline, {.sampler = "ddim", .steps = 5, .seeds = {0}}), Contains("... 999"));
  const ScratchFolder folder;
  write_tiny_data(folder);
  edit_file(folder / "network.json", "{", R"({"time_embedding_type": "learned", "num_train_timesteps": 1000, )");
  const CommandResult trained = run_command(tiny_train("run", 1) + "--sample-count 1 --sample-steps 2", folder.path());
  INFO(trained.err);
  CHECK(trained.status == 0);
}

TEST_CASE("a network without a size is told both sides", "[generate]") {
  const auto pipeline = tiny_pipeline();
  UNet2DConfig& unet = pipeline->denoiser.unet.config;
  unet.sample_height.reset(), unet.sample_width.reset();
  CHECK(image_shape(*pipeline, {.height = 4, .width = 6}) == Shape{4, 6, 1});
  CHECK_THROWS_WITH(image_shape(*pipeline, {.height = 8}), Contains("give --height and --width"));
  CHECK_THROWS_WITH(image_shape(*pipeline, {.width = 8}), Contains("give --height and --width"));
}
