#include "apps/sampler_flags.h"

#include <algorithm>

#include "apps/number_flags.h"

namespace stipple {
namespace {

struct KeyFlag {
  const char *key, *flags, *help;
  bool boolean = false;
};

// Keys of scheduler_config.json that may be said anew when sampling. Which sampler knows which is checked where they
// are set, so that none is ignored.
constexpr KeyFlag kKeys[] = {
    {"prediction_type", "--prediction-type", "what the network answers: epsilon, sample, v_prediction"},
    {"timestep_spacing", "--timestep-spacing", "leading, linspace, trailing"},
    {"steps_offset", "--steps-offset", "added to leading timesteps"},
    {"rescale_betas_zero_snr", "--rescale-betas-zero-snr", "the last timestep is noise only", true},
    {"variance_type", "--variance-type",
     "DDPM: fixed_small, fixed_small_log, fixed_large, learned, learned_range; DPM-Solver: learned, learned_range"},
    {"set_alpha_to_one", "--set-alpha-to-one", "DDIM: the last step leads to an image without noise", true},
    {"clip_sample", "--clip-sample", "DDPM, DDIM, Heun: clip the predicted clean image", true},
    {"clip_sample_range", "--clip-sample-range", "to within plus and minus this"},
    {"thresholding", "--thresholding", "DDPM, DDIM, DPM-Solver: scale it by a quantile of its own instead", true},
    {"dynamic_thresholding_ratio", "--dynamic-thresholding-ratio", "the quantile"},
    {"sample_max_value", "--sample-max-value", "the most it is scaled down by"},
    {"solver_order", "--solver-order,--order", "DPM-Solver: 1, 2, 3"},
    {"algorithm_type", "--algorithm-type,--algorithm", "dpmsolver, dpmsolver++, sde-dpmsolver, sde-dpmsolver++"},
    {"solver_type", "--solver-type", "midpoint, heun"},
    {"lower_order_final", "--lower-order-final", "lower orders at the end, below 15 steps", true},
    {"euler_at_final", "--euler-at-final", "order 1 at the last step", true},
    {"lambda_min_clipped", "--lambda-min-clipped", "leaves out the noisiest timesteps; -5.1 for cosine schedules"},
    {"use_lu_lambdas", "--use-lu-lambdas", "DPM-Solver: sigmas even in their logarithm", true},
    {"use_karras_sigmas", "--use-karras-sigmas", "DPM-Solver, Euler, Heun: sigmas spaced as Karras et al.", true},
    {"use_exponential_sigmas", "--use-exponential-sigmas", "evenly in their logarithm", true},
    {"use_beta_sigmas", "--use-beta-sigmas", "by quantiles of a beta distribution", true},
    {"sigma_min", "--sigma-min", "where these end"},
    {"sigma_max", "--sigma-max", "where they begin"},
    {"final_sigmas_type", "--final-sigmas-type", "DPM-Solver, Euler: the last step leads to zero or sigma_min"},
    {"interpolation_type", "--interpolation-type", "Euler: sigmas between timesteps linear or log_linear"},
    {"timestep_type", "--timestep-type", "Euler: discrete, or continuous for a network that is told log(sigma) / 4"},
};

void add_key(CLI::App& c, const KeyFlag& flag, GenerateOptions& g) {
  const auto set = [&g, key = flag.key](const std::string& value) {
    g.scheduler[key] = value.empty() ? "true" : value;
  };
  CLI::Option* option = c.add_option_function<std::string>(flag.flags, set, flag.help);
  option->group("Scheduler: what scheduler_config.json says, unless said here");
  if (flag.boolean) option->expected(0, 1)->type_name("[true|false]");
}

void add_step_options(CLI::App& c, StepOptions& o) {
  const std::string group = "Options of steps";
  c.add_option("--eta", o.eta, "DDIM: share of DDPM's noise (default 0)")->check(number_from_0_to_1())->group(group);
  c.add_flag_callback(
       "--use-clipped-model-output", [&o] { o.use_clipped_model_output = true; },
       "DDIM: recompute the noise from the clipped image")
      ->group(group);
  CLI::Option* churn = c.add_option("--s-churn", o.s_churn, "Euler: noise added before steps (default 0)")
                           ->check(number_of_0_or_more())
                           ->group(group);
  c.add_option("--s-tmin", o.s_tmin, "Euler: from this sigma on (default 0)")
      ->check(number_of_0_or_more())
      ->needs(churn)
      ->group(group);
  c.add_option("--s-tmax", o.s_tmax, "Euler: up to this sigma (default: any)")
      ->check(number_of_0_or_more_or_inf())
      ->needs(churn)
      ->group(group);
  c.add_option("--s-noise", o.s_noise, "Euler: that noise's deviation (default 1)")
      ->check(number_of_0_or_more())
      ->needs(churn)
      ->group(group);
}

}  // namespace

void add_sampler_flags(CLI::App& c, GenerateOptions& g) {
  c.add_option(
      "--sampler", g.sampler,
      "ddpm, ddim, ddim-inverse, dpm-solver, euler, euler-ancestral, heun, or diffusers' class name (default: the "
      "pipeline's)");
  c.add_option("--steps", g.steps, "denoising steps (default: DDPM all, others 50)")->check(CLI::Range(1, 1000000));
  add_step_options(c, g.step);
  for (const KeyFlag& flag : kKeys) add_key(c, flag, g);
}

}  // namespace stipple
