#include "tests/scheduler_fixtures.h"

// scheduler_config.json: read, written, converted between classes, and refused.

using namespace stipple;

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
    CHECK(mentions(message, std::string(field) + " \"" + value + "\""));
    CHECK(mentions(message, choices));
  };
  refuses(&SchedulerConfig::beta_schedule, "cubic", "beta_schedule", "linear, scaled_linear, squaredcos_cap_v2");
  refuses(&SchedulerConfig::prediction_type, "flow", "prediction_type", "epsilon, sample, v_prediction");
  refuses(&SchedulerConfig::timestep_spacing, "even", "timestep_spacing", "leading, linspace, trailing");
  refuses(&SchedulerConfig::variance_type, "fixed_large_log", "variance_type",
          "fixed_small, fixed_small_log, fixed_large");
  config.steps_offset = 1;
  CHECK(mentions(message_of([&] { make_sampler("ddpm", config, 1000); }), "steps_offset 1"));
}

TEST_CASE("a scheduler's JSON comes back as it was written", "[schedulers]") {
  SchedulerConfig config = SchedulerConfig::defaults("DDIMScheduler");
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
  CHECK(mentions(refused(R"({"prediction_type": "noise"})"), "scheduler_config.json: prediction_type \"noise\""));
  CHECK(mentions(refused("[]"), "scheduler_config.json: is no JSON object"));
  CHECK(mentions(refused("{\"beta_end\": 1,\n oops"), "scheduler_config.json: not valid JSON"));
  CHECK_FALSE(mentions(refused("\x89PNG"), "\x89"));
  CHECK(mentions(refused("{\"beta_end\": 1,\n oops"), "line 2, column 2"));
  CHECK(mentions(refused(R"({"num_train_timesteps": 18446744073709551615})"),
                 "num_train_timesteps is 18446744073709551615, expected an integer"));
}

TEST_CASE("what diffusers writes is read: infinities, nulls, keys of other classes", "[schedulers]") {
  std::vector<std::string> notices;
  const auto read = [&](const char* text) {
    return SchedulerConfig::from_json(text, "scheduler_config.json", notices);
  };
  const SchedulerConfig solver = read(
      R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "variance_type": null,
          "use_flow_sigmas": false, "flow_shift": 1.0, "time_shift_type": "exponential", "skip_prk_steps": true})");
  CHECK(solver.lambda_min_clipped == -std::numeric_limits<double>::infinity());
  CHECK(solver.timestep_spacing == "linspace");
  CHECK_FALSE(mentions(solver.to_json(), "nfinity"));
  CHECK(notices.empty());
  CHECK(read(R"({"_name_or_path": "-Infinity \"Infinity"})").class_name == "DDPMScheduler");
  CHECK(read(R"({"_name_or_path": "C:\\m\\", "_class_name": "DPMSolverMultistepScheduler",
                 "lambda_min_clipped": -Infinity})")
            .lambda_min_clipped == -std::numeric_limits<double>::infinity());
  CHECK(read(R"({"_class_name": "HeunDiscreteScheduler"})").beta_start == 0.00085);
  CHECK(mentions(message_of([&] { read(R"({"use_flow_sigmas": true})"); }), "use_flow_sigmas true is not supported"));
  CHECK(mentions(message_of([&] { read(R"({"beta_schedule": "li\near"})"); }), R"("li\near" is not supported)"));
}

// What diffusers 0.42.1 does with null: it draws as if it were false where a condition asks, and cannot draw elsewhere.
TEST_CASE("a null is false or nothing where diffusers can draw, and elsewhere an error that names the key",
          "[schedulers]") {
  const auto read = [](const std::string& class_name, const std::string& key, const std::string& more = "") {
    std::vector<std::string> notices;
    return SchedulerConfig::from_json("{\"_class_name\": \"" + class_name + "\", \"" + key + "\": null" + more + "}",
                                      "f", notices);
  };
  const auto same = [](const SchedulerConfig& config) {
    return config.to_json() == SchedulerConfig::defaults(config.class_name).to_json();
  };
  CHECK_FALSE(read("DDPMScheduler", "clip_sample").clip_sample);
  CHECK_FALSE(read("DDIMScheduler", "set_alpha_to_one").set_alpha_to_one);
  CHECK_FALSE(read("DPMSolverMultistepScheduler", "lower_order_final").lower_order_final);
  CHECK(same(read("DDPMScheduler", "trained_betas")));
  CHECK(same(read("DDPMScheduler", "variance_type")));
  CHECK(same(read("DDPMScheduler", "sample_max_value")));
  CHECK(same(read("DDPMScheduler", "solver_order")));
  CHECK(same(read("EulerDiscreteScheduler", "sigma_min")));
  CHECK(same(read("EulerDiscreteScheduler", "steps_offset")));
  CHECK(same(read("EulerDiscreteScheduler", "timestep_type")));
  const auto refused = [&](const char* class_name, const std::string& key, const std::string& more = "") {
    CHECK(mentions(message_of([&] { read(class_name, key, more); }), "f: " + key + " is null, expected a"));
  };
  for (const char* key : {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type",
                          "timestep_spacing", "steps_offset", "clip_sample_range"})
    refused("DDIMScheduler", key);
  refused("DDPMScheduler", "sample_max_value", ", \"thresholding\": true");
  for (const char* key : {"solver_order", "algorithm_type", "solver_type", "final_sigmas_type", "lambda_min_clipped"})
    refused("DPMSolverMultistepScheduler", key);
  CHECK(same(read("DPMSolverMultistepScheduler", "use_lu_lambdas")));
  CHECK(same(read("DDPMScheduler", "use_karras_sigmas")));
  for (const char* class_name : {"DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"})
    for (const char* key : {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"})
      CHECK(
          mentions(message_of([&] { read(class_name, key); }), std::string(key) + " is null, expected true or false"));
}

TEST_CASE("configurations are converted between classes as diffusers converts them", "[schedulers]") {
  const SchedulerFixtures fixtures;
  const std::set<std::string> elsewhere{"flow_shift", "time_shift_type", "use_flow_sigmas", "use_dynamic_shifting"};
  for (const auto& conversion : fixtures.cases["conversions"]) {
    INFO(conversion.dump());
    std::vector<std::string> notices;
    const auto from = SchedulerConfig::from_json(conversion["from"].dump(), "schedulers.json", notices);
    CHECK(notices.empty());
    const auto converted = nlohmann::json::parse(from.as(conversion["to"]).to_json());
    for (const auto& [key, value] : conversion["config"].items()) {
      INFO(key);
      if (!elsewhere.count(key)) CHECK(converted.value(key, nlohmann::json()) == value);
    }
  }
}

TEST_CASE("keys that were given for another class are kept, and hold where a class knows them", "[schedulers]") {
  std::vector<std::string> notices;
  const auto ddpm = SchedulerConfig::from_json(R"({"_class_name": "DDPMScheduler", "solver_order": 3})", "f", notices);
  CHECK(nlohmann::json::parse(ddpm.to_json())["solver_order"] == 3);
  CHECK(ddpm.as("DPMSolverMultistepScheduler").solver_order == 3);
  CHECK(ddpm.as("DDIMScheduler").as("DPMSolverMultistepScheduler").solver_order == 3);
  CHECK(nlohmann::json::parse(ddpm.as("DDIMScheduler").to_json())["solver_order"] == 3);
  CHECK_FALSE(nlohmann::json::parse(SchedulerConfig{}.to_json()).contains("solver_order"));
}

TEST_CASE("keys are set one by one, and refused where the class does not know them", "[schedulers]") {
  SchedulerConfig config = SchedulerConfig::defaults("DPMSolverMultistepScheduler");
  config.set("solver_order", "3", "sampler");
  config.set("algorithm_type", "sde-dpmsolver++", "sampler");
  config.set("lower_order_final", "false", "sampler");
  config.set("lambda_min_clipped", "-5.1", "sampler");
  CHECK(config.solver_order == 3);
  CHECK(config.algorithm_type == "sde-dpmsolver++");
  CHECK_FALSE(config.lower_order_final);
  CHECK(config.lambda_min_clipped == -5.1);
  const auto refused = [&](const char* key, const char* value) {
    return message_of([&] { config.set(key, value, "sampler"); });
  };
  CHECK(refused("clip_sample", "true") == "sampler: DPMSolverMultistepScheduler takes no clip_sample");
  CHECK(refused("solver_order", "two") == "sampler: solver_order is \"two\", expected an integer");
  CHECK(refused("thresholding", "1") == "sampler: thresholding is 1, expected true or false");
}

TEST_CASE("what a solver cannot do is refused by name", "[schedulers]") {
  const auto refused = [](const char* name, const std::map<std::string, std::string>& keys, const StepOptions& o = {}) {
    SchedulerConfig config = SchedulerConfig::defaults(scheduler_class(name));
    for (const auto& [key, value] : keys) config.set(key, value, "sampler");
    return message_of([&] { make_sampler(name, config, 5, o); });
  };
  CHECK(mentions(refused("dpm_solver", {{"algorithm_type", "dpmsolver"}}), "use sigma_min"));
  CHECK(mentions(refused("dpm-solver", {{"algorithm_type", "unipc"}}), "algorithm_type \"unipc\" is not supported"));
  CHECK(mentions(refused("dpm-solver", {{"solver_type", "rk4"}}), "solver_type \"rk4\" is not supported"));
  CHECK(mentions(refused("dpm-solver", {{"solver_order", "4"}}), "solver_order is 4"));
  CHECK(mentions(
      refused("dpm-solver",
              {{"solver_order", "3"}, {"algorithm_type", "sde-dpmsolver"}, {"final_sigmas_type", "sigma_min"}}),
      "no solver_order 3"));
  CHECK(mentions(refused("heun", {{"use_karras_sigmas", "true"}, {"use_beta_sigmas", "true"}}), "only one of"));
  CHECK(mentions(refused("euler", {{"final_sigmas_type", "one"}}), "final_sigmas_type \"one\""));
  CHECK(mentions(refused("ddim-inverse", {{"timestep_spacing", "linspace"}}), "\"linspace\" is not supported"));
  CHECK(mentions(refused("ddpm", {}, {.eta = 0.0}), "DDPMScheduler: takes no eta; DDIMScheduler does"));
  CHECK(mentions(refused("ddim", {}, {.s_churn = 1}), "DDIMScheduler: takes no s_churn"));
  CHECK(refused("euler", {}, {.s_churn = 1}) == "nothing was thrown");
}
