#include <algorithm>

#include "diffusion/schedulers/ddim.h"
#include "diffusion/schedulers/ddpm.h"
#include "diffusion/schedulers/timesteps.h"
#include "tests/scheduler_fixtures.h"

using namespace stipple;

namespace {

SchedulerConfig ddim_config() { return SchedulerConfig::defaults("DDIMScheduler"); }

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

TEST_CASE("noise schedules hold diffusers' tables, noisy images and velocities", "[schedulers]") {
  const SchedulerFixtures fixtures;
  const Tensor clean = fixtures.image("sample", Dtype::f64), noise = fixtures.image("noise.000", Dtype::f64);
  const Tensor timesteps = Tensor::of({2}, fixtures.cases["noisy_timesteps"].get<std::vector<int64_t>>());
  for (const std::string name : {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace",
                                 "linear_zero_snr", "scaled_linear_zero_snr"}) {
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

TEST_CASE("zero terminal SNR leaves no signal at the last timestep, and epsilon unclipped is refused there",
          "[schedulers]") {
  SchedulerConfig config;
  config.rescale_betas_zero_snr = true;
  const NoiseSchedule schedule(config);
  CHECK(schedule.alpha_cumprod(999) == 0);
  config.timestep_spacing = "trailing";
  config.clip_sample = config.thresholding = GENERATE(false, true);
  const auto sampler = make_sampler("ddim", config, 1000);
  CHECK_NOTHROW(sampler->clean_from(1));
  CHECK(mentions(message_of([&] { sampler->clean_from(0); }), "v_prediction"));
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
  const auto y = threshold_clean(clean, config).value().to_vector<float>();
  CHECK(y[0] == -1);
  CHECK(y[1] == Approx(0.4));
  CHECK(y[2] == Approx(0.8));
  CHECK(y[4] == 0.5f);
  CHECK(y[5] == -0.25f);
  config.sample_max_value = 2;
  CHECK(threshold_clean(clean, config).value().to_vector<float>()[1] == 0.5f);
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
    CHECK(relative_distance(apply(sampler->clean_from(5), noisy, answer).value(), ramp()) < 1e-6);
    CHECK(relative_distance(sampler->step(answer, 5, noisy, nullptr).clean, ramp()) < 1e-6);
  }
}

TEST_CASE("a perfect network walks DDIM back to the image in any number of steps", "[schedulers]") {
  for (int64_t steps : {1, 3, 20}) {
    SchedulerConfig config = ddim_config();
    config.prediction_type = "sample";
    auto sampler = make_sampler("ddim", config, steps);
    const Tensor end = sample(
        *sampler, [](const Var&, double) { return ramp(); }, reversed_ramp(), nullptr);
    CHECK(relative_distance(end, ramp()) < 1e-6);
  }
}

TEST_CASE("noise is drawn by DDPM at every timestep but 0, by DDIM at every timestep if eta is above 0",
          "[schedulers]") {
  const auto draws = [](const char* name, const char* spacing, double eta) {
    SchedulerConfig config;
    config.timestep_spacing = spacing;
    StepOptions options;
    if (eta > 0) options.eta = eta;
    int calls = 0;
    const auto noise = [&](const Shape& shape) { return ++calls, Tensor::zeros(shape, Dtype::f64); };
    sample(*make_sampler(name, config, 4, options), toy_network, ramp(), noise);
    return calls;
  };
  CHECK(draws("ddpm", "leading", 0) == 3);
  CHECK(draws("ddpm", "trailing", 0) == 4);  // its last timestep is 249
  CHECK(draws("ddim", "leading", 0) == 0);
  CHECK(draws("ddim", "leading", 0.5) == 4);
}
