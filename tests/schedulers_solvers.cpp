#include "diffusion/schedulers/sigmas.h"
#include "diffusion/schedulers/timesteps.h"
#include "diffusion/schedulers/variance_exploding.h"
#include "tests/scheduler_fixtures.h"

// Solvers in sigmas: DPM-Solver, Euler, Heun, and DDIM backwards.

using namespace stipple;

namespace {

constexpr double kPixels = 768;  // of the ramp

// As in diffusers' own tests of Euler's and Heun's samplers.
SchedulerConfig longer(const char* class_name) {
  SchedulerConfig c = SchedulerConfig::defaults(class_name);
  c.num_train_timesteps = 1100;
  c.beta_start = 1e-4, c.beta_end = 0.02;
  return c;
}

// As in its tests of DPM-Solver.
SchedulerConfig solver() {
  SchedulerConfig c = SchedulerConfig::defaults("DPMSolverMultistepScheduler");
  c.final_sigmas_type = "sigma_min";
  c.lower_order_final = false;
  return c;
}

// There the step is given what the network saw, rather than the state.
SamplingOptions steps_from_what_the_network_saw(const Sampler& sampler) {
  SamplingOptions options;
  options.guide = [&](size_t index, Var& x, Var&) { x = sampler.scale_model_input(x, index); };
  return options;
}

double walk(const SchedulerConfig& config) {
  const auto sampler = make_sampler(config.class_name, config, 10);
  const SamplingOptions options = steps_from_what_the_network_saw(*sampler);
  return sum_of_magnitudes(sample(*sampler, toy_network, ramp(), torch_noise(0), options));
}

// From the state that the ramp as initial noise, with the reversed ramp as noise on top, gives `steps` before the end.
double walk_from(const SchedulerConfig& config, int64_t steps) {
  const auto sampler = make_sampler(config.class_name, config, 10);
  SamplingOptions options = steps_from_what_the_network_saw(*sampler);
  options.first = static_cast<size_t>((10 - steps) * sampler->order());
  const Tensor image = kernels::affine(ramp(), sampler->init_noise_sigma(), 0);
  const Tensor start = sampler->add_noise(image, reversed_ramp(), options.first);
  return sum_of_magnitudes(sample(*sampler, toy_network, start, torch_noise(0), options));
}

}  // namespace

TEST_CASE("Euler ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = longer("EulerDiscreteScheduler");
  CHECK(walk(config) == Approx(10.0807).epsilon(1e-4));
  CHECK(walk_from(config, 2) == Approx(57062.9297).epsilon(1e-5));
  config.use_karras_sigmas = true;
  CHECK(walk(config) == Approx(124.5230).epsilon(1e-4));
}

TEST_CASE("Euler ancestral ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = longer("EulerAncestralDiscreteScheduler");
  CHECK(walk(config) == Approx(152.3192).epsilon(1e-5));
  CHECK(walk_from(config, 2) == Approx(56163.0508).epsilon(1e-5));
  config.prediction_type = "v_prediction";
  CHECK(walk(config) == Approx(108.4439).epsilon(1e-5));
}

TEST_CASE("Heun ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = longer("HeunDiscreteScheduler");
  CHECK(walk(config) == Approx(0.1233).margin(1e-4));
  CHECK(walk_from(config, 2) == Approx(75074.8906).epsilon(1e-5));
  config.use_karras_sigmas = true;
  CHECK(walk(config) == Approx(0.00015).margin(1e-5));
}

TEST_CASE("DPM-Solver++ ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = solver();
  CHECK(walk(config) / kPixels == Approx(0.3301).margin(1e-4));
  CHECK(walk_from(config, 5) == Approx(318.4111).epsilon(1e-5));
  config.thresholding = true;
  config.dynamic_thresholding_ratio = 0.87, config.sample_max_value = 0.5;
  CHECK(walk(config) / kPixels == Approx(1.1364).margin(1e-4));
  config = solver();
  config.prediction_type = "v_prediction";
  CHECK(walk(config) / kPixels == Approx(0.2251).margin(1e-4));
  config.use_karras_sigmas = true;
  CHECK(walk(config) / kPixels == Approx(0.2096).margin(1e-3));
  config.use_karras_sigmas = false, config.use_lu_lambdas = true;
  CHECK(walk(config) / kPixels == Approx(0.1554).margin(1e-4));
}

TEST_CASE("DDIM backwards ends where diffusers' own tests say", "[schedulers]") {
  SchedulerConfig config = SchedulerConfig::defaults("DDIMInverseScheduler");
  CHECK(walk(config) / kPixels == Approx(0.8746).margin(1e-4));
  config.prediction_type = "v_prediction";
  CHECK(walk(config) / kPixels == Approx(1.8154).margin(1e-4));
}

TEST_CASE("DDIM leads back from where DDIM backwards led, if the network does not change its mind", "[schedulers]") {
  SchedulerConfig config = SchedulerConfig::defaults("DDIMScheduler");
  config.clip_sample = config.set_alpha_to_one = false;
  const auto constant = [](const Var&, double) { return reversed_ramp(); };
  const Tensor noisy = sample(*make_sampler("ddim-inverse", config, 20), constant, ramp(), nullptr);
  CHECK(relative_distance(noisy, ramp()) > 0.5);
  CHECK(relative_distance(sample(*make_sampler("ddim", config, 20), constant, noisy, nullptr), ramp()) < 1e-6);
}

TEST_CASE("a perfect network walks every solver to the image", "[schedulers]") {
  for (const char* name : {"dpm-solver", "euler", "euler-ancestral", "heun"})
    for (int64_t steps : {1, 3, 20}) {
      INFO(name << ", " << steps << " steps");
      SchedulerConfig config;
      config.prediction_type = "sample";
      const auto perfect = [](const Var&, double) { return ramp(); };
      const Tensor end = sample(*make_sampler(name, config, steps), perfect, reversed_ramp(), torch_noise(0));
      CHECK(relative_distance(end, ramp()) < 1e-6);
    }
}

TEST_CASE("the network sees states of the variance it was trained on", "[schedulers]") {
  for (const char* name : {"ddpm", "ddim", "dpm-solver", "euler", "euler-ancestral", "heun"}) {
    const auto sampler = make_sampler(name, SchedulerConfig{}, 7);
    for (size_t index = 0; index < sampler->timesteps().size(); ++index) {
      const NoiseLevel level = sampler->level(index);
      const double scale = sampler->input_scale(index);
      CHECK(scale * std::hypot(level.signal, level.noise) == Approx(1));
      // Whatever the sampler, the timestep says how much of that is noise.
      const double t = sampler->timesteps()[index];
      const double abar = sampler->schedule().alpha_cumprod(std::lround(t));
      CHECK(scale * level.signal == Approx(std::sqrt(abar)).epsilon(0.01));
    }
  }
}

TEST_CASE("a sampler that is walked twice walks the same way", "[schedulers]") {
  for (const char* name : {"dpm-solver", "heun"}) {
    const auto sampler = make_sampler(name, SchedulerConfig{}, 5);
    const double first = walk(*sampler);
    sampler->step(ramp(), 0, ramp(), nullptr);
    CHECK(walk(*sampler) == first);
  }
}

TEST_CASE("a walk begins only where a step of the sampler begins", "[schedulers]") {
  const auto heun = make_sampler("heun", SchedulerConfig{}, 5);
  SamplingOptions options;
  options.first = 3;
  CHECK_THROWS_WITH(sample(*heun, toy_network, ramp(), nullptr, options), Contains("inside a step of 2 timesteps"));
}

TEST_CASE("learned variances are no concern of DPM-Solver, which takes the first half of the channels",
          "[schedulers]") {
  SchedulerConfig config = solver();
  const double plain = walk(config);
  config.variance_type = "learned_range";
  const auto doubled = [](const Var& seen, double t) {
    const Tensor &x = seen.value(), m = toy_network(seen, t).value();
    Tensor both({x.dim(0), x.dim(1), x.dim(2), 2 * x.dim(3)}, x.dtype());
    for (int64_t i = 0; i < x.numel(); ++i)
      both.mutable_data<double>()[i / x.dim(3) * 2 * x.dim(3) + i % x.dim(3)] = m.data<double>()[i];
    return both;
  };
  const Tensor end = sample(*make_sampler("dpm-solver", config, 10), doubled, ramp(), nullptr);
  CHECK(sum_of_magnitudes(end) == plain);
}

TEST_CASE("quantiles of the beta distribution are SciPy's", "[schedulers]") {
  CHECK(beta_quantile(0, 0.6) == Approx(0).margin(1e-15));
  CHECK(beta_quantile(1, 0.6) == Approx(1));
  CHECK(beta_quantile(0.5, 0.6) == Approx(0.5));
  CHECK(beta_quantile(0.01, 0.6) == Approx(0.0008612388215429059).epsilon(1e-12));
  CHECK(beta_quantile(0.1, 0.6) == Approx(0.03958440558878085).epsilon(1e-12));
  CHECK(beta_quantile(0.9, 0.6) == Approx(1 - 0.03958440558878085).epsilon(1e-12));
}

TEST_CASE("sigmas of a schedule lead to its timesteps and back", "[schedulers]") {
  const NoiseSchedule schedule{SchedulerConfig{}};
  const SigmaTable table(schedule);
  for (double t : {0.0, 0.25, 1.0, 500.0, 998.5, 999.0})
    CHECK(table.timestep_of(table.at(t)) == Approx(t).epsilon(1e-3).margin(0.1));
  CHECK(table.timestep_of(1e9) == 999);
  CHECK(table.timestep_of(0) == 0);
  CHECK(table.at(2000) == table.largest());
  SchedulerConfig config;
  config.rescale_betas_zero_snr = true;
  CHECK(SigmaTable(NoiseSchedule(config)).largest() == Approx(4096));
}

TEST_CASE("Euler takes no options of a noise that it does not add", "[schedulers]") {
  const auto euler = [](const StepOptions& o) { make_sampler("euler", SchedulerConfig{}, 5, o); };
  CHECK_NOTHROW(euler({.s_churn = 1, .s_tmin = 1, .s_noise = 1.1}));
  for (const StepOptions& o :
       {StepOptions{.s_tmin = 1}, StepOptions{.s_churn = 0, .s_tmax = 9}, StepOptions{.s_noise = 2}})
    CHECK(mentions(message_of([&] { euler(o); }), "without s_churn above 0 there is none"));
  CHECK(mentions(message_of([&] { euler({.s_churn = 1, .s_tmin = 5, .s_tmax = 1}); }), "s_tmin 5 is above s_tmax 1"));
}

// diffusers takes the root of a rounding below zero there.
TEST_CASE("DPM-Solver's last step draws no noise where its sigmas already end at sigma_min", "[schedulers]") {
  SchedulerConfig config = solver();
  config.algorithm_type = "sde-dpmsolver++";
  config.beta_schedule = "squaredcos_cap_v2";
  config.solver_order = GENERATE(1, 2);
  (GENERATE(false, true) ? config.use_lu_lambdas : config.use_beta_sigmas) = true;
  for (int64_t steps = 2; steps < 20; ++steps) {
    const auto sampler = make_sampler(config.class_name, config, steps);
    CHECK(std::isfinite(sum_of_magnitudes(sample(*sampler, toy_network, ramp(), torch_noise(0)))));
  }
}
