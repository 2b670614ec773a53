#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "diffusion/sampling.h"
#include "diffusion/scheduler.h"
#include "diffusion/schedulers/ddim.h"
#include "diffusion/schedulers/ddpm.h"
#include "diffusion/schedulers/prediction.h"
#include "kernels/arithmetic.h"
#include "tensor/layout.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

// The image that diffusers' own scheduler tests start from: [4,3,8,8] with value (((c*8 + h)*8 + w)*4 + b) / 768.
Tensor ramp_nchw() {
  Tensor image({4, 3, 8, 8}, Dtype::f64);
  double* to = image.mutable_data<double>();
  for (int64_t b = 0; b < 4; ++b)
    for (int64_t i = 0; i < 192; ++i) to[b * 192 + i] = static_cast<double>(i * 4 + b) / 768;
  return image;
}

Tensor ramp() { return to_channels_last(ramp_nchw()); }

// Its values in the reverse order of (c, h, w, b), which is 767/768 - value.
Tensor reversed_ramp() { return kernels::affine(ramp(), -1, 767.0 / 768); }

Tensor toy_network(const Tensor& x, double t) { return kernels::affine(x, t / (t + 1), 0); }

double sum_of_magnitudes(const Tensor& x) {
  double sum = 0;
  for (double v : x.to_vector<double>()) sum += std::abs(v);
  return sum;
}

double walk(Sampler& sampler, const NoiseSource& noise = nullptr) {
  return sum_of_magnitudes(sample(sampler, toy_network, ramp(), noise));
}

NoiseSource torch_noise(uint64_t seed) {
  std::shared_ptr<Generator> generator = make_generator("torch", seed);
  return [generator](const Shape& nhwc) {
    const Tensor nchw = normal(*generator, {nhwc[0], nhwc[3], nhwc[1], nhwc[2]});
    return to_channels_last(nchw).to(Dtype::f64);
  };
}

SchedulerConfig ddim_config() {
  SchedulerConfig config;
  config.class_name = "DDIMScheduler";
  return config;
}

double dot(const Tensor& a, const Tensor& b) {
  const auto x = a.to(Dtype::f64).to_vector<double>(), y = b.to(Dtype::f64).to_vector<double>();
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

double norm(const Tensor& x) { return std::sqrt(dot(x, x)); }

double distance(const Tensor& a, const Tensor& b) { return norm(kernels::binary(Binary::subtract, a, b)); }

double relative_distance(const Tensor& got, const Tensor& expected) { return distance(got, expected) / norm(expected); }

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was thrown";
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Fixtures {
  nlohmann::json cases;
  SafetensorsFile tensors{STIPPLE_FIXTURES "/schedulers.safetensors"};

  Fixtures() { std::ifstream(STIPPLE_FIXTURES "/schedulers.json") >> cases; }

  Tensor image(const std::string& name, Dtype dtype) const { return to_channels_last(tensors.load(name)).to(dtype); }
};

StepOptions step_options(const nlohmann::json& options) {
  return {options.value("eta", 0.0), options.value("use_clipped_model_output", false)};
}

// How far two roundings of the same prediction can be apart. Close to pure noise the clean image is a small difference
// of large terms, and PyTorch's f32 square root is itself one unit in the last place off in a fifth of all cases.
double rounding(const Coefficients& c, const Tensor& x, const Tensor& answer) {
  return 1.2e-7 * (std::abs(c.sample) * norm(x) + std::abs(c.model_output) * norm(answer));
}

// Walks case `number` and checks every state and every clean image.
void compare(const Fixtures& fixtures, size_t number, Sampler& sampler, Dtype dtype, double tolerance) {
  size_t call = 0;
  double allowed = 0;
  const auto expected = [&](const char* what) {
    return fixtures.image(fmt::format("case.{:03}.{}.{:03}", number, what, call), dtype);
  };
  const auto noise = [&](const Shape&) { return fixtures.image(fmt::format("noise.{:03}", call), dtype); };
  SamplingOptions options;
  options.guide = [&](size_t index, Tensor& x, Tensor& answer) {
    allowed = rounding(sampler.clean_from(sampler.timesteps()[index]), x, answer);
  };
  options.on_step = [&](size_t, size_t, const StepResult& result) {
    INFO(name_of(dtype) << ", step " << call);
    CHECK(distance(result.sample, expected("step")) <= tolerance * norm(expected("step")));
    CHECK(distance(result.clean, expected("x0")) <= tolerance * norm(expected("x0")) + allowed);
    ++call;
  };
  sample(sampler, toy_network, fixtures.image("sample", dtype), noise, options);
}

}  // namespace

TEST_CASE("DDPM ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config;
  config.variance_type = "fixed_small";
  CHECK(walk(*make_sampler("ddpm", config, 1000), torch_noise(0)) == Approx(258.9606).epsilon(1e-5));
  config.prediction_type = "v_prediction";
  CHECK(walk(*make_sampler("ddpm", config, 1000), torch_noise(0)) == Approx(202.0296).epsilon(1e-5));
}

TEST_CASE("DDIM ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = ddim_config();
  CHECK(walk(*make_sampler("ddim", config, 10)) == Approx(172.0067).epsilon(1e-5));
  config.prediction_type = "v_prediction";
  CHECK(walk(*make_sampler("ddim", config, 10)) == Approx(52.5302).epsilon(1e-5));
  config = ddim_config();
  config.beta_start = 0.01;
  CHECK(walk(*make_sampler("ddim", config, 10)) == Approx(149.8295).epsilon(1e-5));
  config.set_alpha_to_one = false;
  CHECK(walk(*make_sampler("ddim", config, 10)) == Approx(149.0784).epsilon(1e-5));
}

TEST_CASE("samplers and noise schedules agree with diffusers on every trajectory of the fixtures", "[schedulers]") {
  const Fixtures fixtures;
  size_t compared = 0;
  for (size_t number = 0; number < fixtures.cases["cases"].size(); ++number) {
    const nlohmann::json& expected = fixtures.cases["cases"][number];
    const std::string name = expected["config"]["_class_name"];
    const std::string variance = expected["config"].value("variance_type", "");
    if ((name != "DDPMScheduler" && name != "DDIMScheduler") || variance.starts_with("learned")) continue;
    INFO("case " << number << ": " << expected.dump());
    std::vector<std::string> notices;
    const SchedulerConfig config = SchedulerConfig::from_json(expected["config"].dump(), "schedulers.json", notices);
    auto sampler = make_sampler(name, config, expected["steps"], step_options(expected["options"]));
    CHECK(notices.empty());
    CHECK(sampler->timesteps() == expected["timesteps"].get<std::vector<double>>());
    compare(fixtures, number, *sampler, Dtype::f64, 1e-6);
    compare(fixtures, number, *sampler, Dtype::f32, 1e-5);
    ++compared;
  }
  CHECK(compared == 44);
}

TEST_CASE("noise schedules hold diffusers' tables, noisy images and velocities", "[schedulers]") {
  const Fixtures fixtures;
  const Tensor clean = fixtures.image("sample", Dtype::f64), noise = fixtures.image("noise.000", Dtype::f64);
  const Tensor timesteps = Tensor::of({2}, fixtures.cases["noisy_timesteps"].get<std::vector<int64_t>>());
  for (const std::string name :
       {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "linear_zero_snr", "scaled_linear_zero_snr"}) {
    INFO(name);
    SchedulerConfig config;
    config.prediction_type = "v_prediction";
    config.rescale_betas_zero_snr = name.ends_with("_zero_snr");
    config.beta_schedule = name.substr(0, name.find("_zero_snr"));
    if (config.beta_schedule == "scaled_linear") config.beta_start = 0.00085, config.beta_end = 0.012;
    const NoiseSchedule schedule(config);
    const auto table = fixtures.tensors.load("alphas_cumprod." + name).to_vector<float>();
    for (int64_t t = 0; t < 1000; ++t)  // roots, whose last digits PyTorch's square root decides where they cancel
      REQUIRE(std::sqrt(schedule.alpha_cumprod(t)) == Approx(std::sqrt(table[t])).epsilon(2e-6).margin(3e-8));
    CHECK(relative_distance(schedule.add_noise(clean, noise, timesteps), fixtures.image("noisy." + name, Dtype::f64)) <
          1e-6);
    CHECK(relative_distance(schedule.target(clean, noise, timesteps), fixtures.image("velocity." + name, Dtype::f64)) <
          1e-6);
  }
}

TEST_CASE("abar falls from almost 1 to almost 0", "[schedulers]") {
  SchedulerConfig config;
  const NoiseSchedule linear(config);
  CHECK(linear.alpha_cumprod(-1) == 1);
  CHECK(linear.alpha_cumprod(0) == Approx(0.9999));
  CHECK(linear.alpha_cumprod(25) == Approx(0.990965));
  CHECK(linear.alpha_cumprod(250) == Approx(0.521423));
  CHECK(linear.alpha_cumprod(500) == Approx(0.077797).epsilon(1e-4));
  CHECK(linear.alpha_cumprod(999) == Approx(4.0e-5).epsilon(0.02));
  config.beta_schedule = "squaredcos_cap_v2";
  const NoiseSchedule cosine(config);
  CHECK(cosine.alpha_cumprod(250) == Approx(0.845888));
  CHECK(cosine.alpha_cumprod(500) == Approx(0.492285));
  CHECK(cosine.alpha_cumprod(999) == Approx(2.43e-9).epsilon(0.01));
}

TEST_CASE("zero terminal SNR leaves no signal at the last timestep, and epsilon is refused there", "[schedulers]") {
  SchedulerConfig config;
  config.rescale_betas_zero_snr = true;
  const NoiseSchedule schedule(config);
  CHECK(schedule.alpha_cumprod(999) == 0);
  CHECK_NOTHROW(schedule.clean_from(998));
  CHECK(mentions(message_of([&] { schedule.clean_from(999); }), "v_prediction"));
}

TEST_CASE("add_noise mixes each image at its own timestep", "[schedulers]") {
  const NoiseSchedule schedule{SchedulerConfig{}};
  const Tensor t = Tensor::of<int64_t>({4}, std::vector<int64_t>{0, 300, 600, 999});
  const Tensor together = schedule.add_noise(ramp(), reversed_ramp(), t);
  for (int64_t n = 0; n < 4; ++n) {
    const Tensor alone = schedule.add_noise(ramp().slice(n, n + 1), reversed_ramp().slice(n, n + 1), t.slice(n, n + 1));
    CHECK(relative_distance(together.slice(n, n + 1), alone) == 0);
  }
  CHECK_THROWS_AS(schedule.add_noise(ramp(), reversed_ramp(), t.slice(0, 3)), Error);
  CHECK_THROWS_AS(schedule.add_noise(ramp(), reversed_ramp(), Tensor::full({4}, 1000, Dtype::i64)), Error);
}

TEST_CASE("a walk from a noised image ends where diffusers' own tests say", "[schedulers]") {
  auto ddim = make_sampler("ddim", ddim_config(), 10);
  SamplingOptions options;
  options.first = 8;
  const Tensor t = Tensor::full({4}, ddim->timesteps()[8], Dtype::i64);
  const Tensor start = ddim->schedule().add_noise(ramp(), reversed_ramp(), t);
  CHECK(sum_of_magnitudes(sample(*ddim, toy_network, start, nullptr, options)) == Approx(354.5418).epsilon(1e-5));

  auto ddpm = make_sampler("ddpm", SchedulerConfig{}, 1000);
  options.first = 998;
  const Tensor one = Tensor::full({4}, ddpm->timesteps()[998], Dtype::i64);
  const Tensor almost_clean = ddpm->schedule().add_noise(ramp(), reversed_ramp(), one);
  const Tensor end = sample(*ddpm, toy_network, almost_clean, torch_noise(0), options);
  CHECK(sum_of_magnitudes(end) == Approx(387.9466).epsilon(1e-5));
}

TEST_CASE("the variances of DDPM and DDIM are diffusers'", "[schedulers]") {
  const DDPMScheduler ddpm(SchedulerConfig{}, 1000);
  CHECK(ddpm.variance(999) == Approx(1e-20));
  CHECK(ddpm.variance(999 - 487) == Approx(0.00979).epsilon(1e-3));
  CHECK(ddpm.variance(0) == Approx(0.02).epsilon(1e-3));
  const DDIMScheduler ddim(ddim_config(), 50, {});
  CHECK(ddim.timesteps()[28] == 420);
  CHECK(ddim.variance(28) == Approx(0.14771).epsilon(1e-4));
  CHECK(ddim.variance(0) == Approx(0.32460).epsilon(1e-4));
  CHECK(ddim.variance(49) == 0);
}

TEST_CASE("timesteps are spaced as diffusers spaces them", "[schedulers]") {
  SchedulerConfig config = ddim_config();
  config.steps_offset = 1;
  CHECK(make_sampler("ddim", config, 5)->timesteps() == std::vector<double>{801, 601, 401, 201, 1});
  config.timestep_spacing = "linspace";  // 249.75 499.5 749.25; 499.5 goes to the even neighbour
  CHECK(make_sampler("ddim", config, 5)->timesteps() == std::vector<double>{999, 749, 500, 250, 0});
  CHECK(make_sampler("ddim", config, 1)->timesteps() == std::vector<double>{0});
  config.timestep_spacing = "trailing";  // 1000 937.5 875 ...; 937.5 goes to 938
  CHECK(make_sampler("ddim", config, 16)->timesteps()[1] == 937);
  config.num_train_timesteps = 100;  // 100 - 3 (100 / 24) = 87.5, a tie but for the roundings of numpy.arange
  CHECK(make_sampler("ddim", config, 24)->timesteps()[3] == 86);
  config.num_train_timesteps = 1000;
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    const auto timesteps = spaced_timesteps(config, steps);
    REQUIRE(timesteps.front() == 999);
    REQUIRE(timesteps.back() >= 0);
    REQUIRE(std::is_sorted(timesteps.rbegin(), timesteps.rend(), std::less_equal<>()));
  }
}

TEST_CASE("thresholding scales an image by the quantile of its own magnitudes", "[schedulers]") {
  SchedulerConfig config;
  config.thresholding = true;
  config.dynamic_thresholding_ratio = 0.75;
  config.sample_max_value = 10;
  // |x| sorted: 0 1 2 4, rank 2.25: s = 2.5; the second image stays below 1: s = 1.
  const Tensor clean = Tensor::of<float>({2, 4}, std::vector<float>{-4, 1, 2, 0, 0.5f, -0.25f, 0.75f, 0});
  const auto y = clip_clean(clean, config).to_vector<float>();
  CHECK(y[0] == -1);
  CHECK(y[1] == Approx(0.4));
  CHECK(y[2] == Approx(0.8));
  CHECK(y[4] == 0.5f);
  CHECK(y[5] == -0.25f);
  config.sample_max_value = 2;
  CHECK(clip_clean(clean, config).to_vector<float>()[1] == 0.5f);
}

TEST_CASE("the clean image is the linear function that clean_from says", "[schedulers]") {
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    SchedulerConfig config;
    config.prediction_type = prediction;
    config.clip_sample = false;
    const NoiseSchedule schedule(config);
    const Tensor t = Tensor::full({4}, 400, Dtype::i64);
    const Tensor noisy = schedule.add_noise(ramp(), reversed_ramp(), t);
    const Tensor answer = schedule.target(ramp(), reversed_ramp(), t);
    auto sampler = make_sampler("ddim", config, 10);
    CHECK(relative_distance(predict_clean(sampler->clean_from(400), noisy, answer), ramp()) < 1e-6);
    CHECK(relative_distance(sampler->step(answer, 5, noisy, nullptr).clean, ramp()) < 1e-6);
  }
}

TEST_CASE("a perfect network walks DDIM back to the image in any number of steps", "[schedulers]") {
  for (int64_t steps : {1, 3, 20}) {
    SchedulerConfig config = ddim_config();
    config.prediction_type = "sample";
    auto sampler = make_sampler("ddim", config, steps);
    const Tensor end = sample(
        *sampler, [](const Tensor&, double) { return ramp(); }, reversed_ramp(), nullptr);
    CHECK(relative_distance(end, ramp()) < 1e-6);
  }
}

TEST_CASE("noise is drawn by DDPM at every timestep but 0, by DDIM at every timestep if eta is above 0",
          "[schedulers]") {
  const auto draws = [](const char* name, const char* spacing, double eta) {
    SchedulerConfig config;
    config.timestep_spacing = spacing;
    int calls = 0;
    const auto noise = [&](const Shape& shape) { return ++calls, Tensor::zeros(shape, Dtype::f64); };
    sample(*make_sampler(name, config, 4, {eta, false}), toy_network, ramp(), noise);
    return calls;
  };
  CHECK(draws("ddpm", "leading", 0) == 3);
  CHECK(draws("ddpm", "trailing", 0) == 4);  // its last timestep is 249
  CHECK(draws("ddim", "leading", 0) == 0);
  CHECK(draws("ddim", "leading", 0.5) == 4);
}

TEST_CASE("what is unknown or impossible in a scheduler is named", "[schedulers]") {
  SchedulerConfig config;
  CHECK(mentions(message_of([&] { make_sampler("ddpm", config, 1001); }), "1001 steps; it can do 1 to 1000"));
  CHECK(mentions(message_of([&] { make_sampler("ddim", config, 0); }), "0 steps"));
  CHECK(mentions(message_of([&] { make_sampler("ddpm", config, -5); }), "-5 steps"));
  CHECK(mentions(message_of([&] { make_sampler("PNDMScheduler", config, 5); }), "'PNDMScheduler' is unknown"));
  CHECK(mentions(message_of([&] { make_sampler("ddim", config, 5, {-1, false}); }), "eta is -1"));
  const auto refuses = [](auto member, const char* value, const char* field, const char* choices) {
    SchedulerConfig wrong;
    wrong.*member = value;
    const std::string message = message_of([&] { make_sampler("ddpm", wrong, 5); });
    INFO(message);
    CHECK(mentions(message, std::string(field) + " '" + value + "'"));
    CHECK(mentions(message, choices));
  };
  refuses(&SchedulerConfig::beta_schedule, "laplace", "beta_schedule", "linear, scaled_linear, squaredcos_cap_v2");
  refuses(&SchedulerConfig::prediction_type, "flow", "prediction_type", "epsilon, sample, v_prediction");
  refuses(&SchedulerConfig::timestep_spacing, "even", "timestep_spacing", "leading, linspace, trailing");
  refuses(&SchedulerConfig::variance_type, "learned", "variance_type", "fixed_small, fixed_small_log, fixed_large");
  config.steps_offset = 1;
  CHECK(mentions(message_of([&] { make_sampler("ddpm", config, 1000); }), "steps_offset 1"));
}

TEST_CASE("a scheduler's JSON comes back as it was written", "[schedulers]") {
  SchedulerConfig config = ddim_config();
  config.num_train_timesteps = 3;
  config.trained_betas = {0.1, 0.2, 0.30000000000000004};
  config.beta_start = 0.00085;
  config.prediction_type = "v_prediction";
  config.set_alpha_to_one = false;
  config.thresholding = true;
  config.steps_offset = 2;
  std::vector<std::string> notices;
  const std::string text = config.to_json();
  const SchedulerConfig again = SchedulerConfig::from_json(text, "scheduler_config.json", notices);
  CHECK(again.to_json() == text);
  CHECK(again.trained_betas == config.trained_betas);
  CHECK(again.class_name == "DDIMScheduler");
  CHECK_FALSE(again.set_alpha_to_one);
  CHECK(notices.empty());
  CHECK(nlohmann::json::parse(SchedulerConfig{}.to_json())["variance_type"] == "fixed_small");
}

TEST_CASE("a scheduler's JSON gives notices of unknown keys and refuses wrong values by name", "[schedulers]") {
  std::vector<std::string> notices;
  const auto read = [&](const char* text) {
    return SchedulerConfig::from_json(text, "scheduler_config.json", notices);
  };
  const SchedulerConfig config = read(
      R"({"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 1e-2, "trained_betas": null, "warp": 9})");
  CHECK(config.beta_end == 0.01);
  CHECK(config.beta_start == 1e-4);
  CHECK(notices == std::vector<std::string>{"scheduler_config.json: warp is unknown and ignored"});
  const auto refused = [&](const char* text) { return message_of([&] { read(text); }); };
  CHECK(refused(R"({"beta_start": "small"})") == "scheduler_config.json: beta_start is \"small\", expected a number");
  CHECK(refused(R"({"steps_offset": 0.5})") == "scheduler_config.json: steps_offset is 0.5, expected an integer");
  CHECK(mentions(refused(R"({"clip_sample": 1})"), "clip_sample is 1, expected true or false"));
  CHECK(mentions(refused(R"({"trained_betas": [1, "x"]})"), "trained_betas"));
  CHECK(mentions(refused(R"({"trained_betas": [0.5]})"), "trained_betas holds 1 numbers"));
  CHECK(mentions(refused(R"({"prediction_type": "noise"})"), "scheduler_config.json: prediction_type 'noise'"));
  CHECK(mentions(refused(R"({"variance_type": "learned_range"})"), "variance_type 'learned_range'"));
  CHECK(mentions(refused("{"), "scheduler_config.json: is no JSON object"));
}
