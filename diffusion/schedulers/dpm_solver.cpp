#include "diffusion/schedulers/dpm_solver.h"

#include <algorithm>
#include <cmath>

#include "diffusion/schedulers/prediction.h"
#include "diffusion/schedulers/sigmas.h"
#include "diffusion/schedulers/timesteps.h"
#include "kernels/arithmetic.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

constexpr const char* kName = "DPMSolverMultistepScheduler";

// Other solvers' words for what is nearest here.
SchedulerConfig translated(SchedulerConfig c) {
  if (c.algorithm_type == "deis") c.algorithm_type = "dpmsolver++";
  if (c.solver_type == "logrho" || c.solver_type == "bh1" || c.solver_type == "bh2") c.solver_type = "midpoint";
  return c;
}

void check_solver(const SchedulerConfig& c) {
  const std::string& type = c.algorithm_type;
  check(type == "dpmsolver" || type == "dpmsolver++" || type == "sde-dpmsolver" || type == "sde-dpmsolver++",
        "{}: algorithm_type {} is not supported; there are dpmsolver, dpmsolver++, sde-dpmsolver, sde-dpmsolver++",
        kName, in_quotes(type));
  check(c.solver_type == "midpoint" || c.solver_type == "heun",
        "{}: solver_type {} is not supported; there are midpoint, heun", kName, in_quotes(c.solver_type));
  check(c.solver_order >= 1 && c.solver_order <= 3, "{}: solver_order is {}; there are 1, 2, 3", kName, c.solver_order);
  check(type != "sde-dpmsolver" || c.solver_order < 3, "{}: algorithm_type sde-dpmsolver has no solver_order 3", kName);
  check(type.ends_with("++") || c.final_sigmas_type == "sigma_min",
        "{}: algorithm_type {} cannot end at final_sigmas_type zero; use sigma_min", kName, type);
}

// How many timesteps have lambda = -log sigma of at least lambda_min_clipped; they are the first ones.
int64_t unclipped(const SigmaTable& table, double lambda_min) {
  const auto& sigmas = table.sigmas();
  return std::count_if(sigmas.begin(), sigmas.end(), [=](double sigma) { return -std::log(sigma) >= lambda_min; });
}

NoiseLevel level_of(double sigma) {
  const double signal = 1 / std::sqrt(sigma * sigma + 1);
  return {signal, sigma * signal};
}

double phi1(double u) { return std::expm1(u); }
double phi2(double u) { return u == 0 ? 0 : phi1(u) / u - 1; }
double phi3(double u) { return u == 0 ? 0 : phi2(u) / u - 0.5; }

}  // namespace

DPMSolverMultistepScheduler::DPMSolverMultistepScheduler(const SchedulerConfig& config, int64_t steps,
                                                         const StepOptions&)
    : Sampler(translated(config)),
      predicts_clean_(config_.algorithm_type.ends_with("++")),
      stochastic_(config_.algorithm_type.starts_with("sde-")) {
  check_solver(config_);
  space_sigmas(steps);
}

// Respaced sigmas span the whole schedule, lambda_min_clipped or not. The network is told whole timesteps: rounded for
// Karras' and Lu's sigmas unless the schedule is the cosine, cut off else, as diffusers does. What is cut off at the
// first, 998.9999 or 999, hangs on the last bit of a square root and of a logarithm. Ours are the nearest; those of
// PyTorch (MKL) and numpy are not in one of five, so a few schedules begin one timestep apart from diffusers'.
void DPMSolverMultistepScheduler::space_sigmas(int64_t steps) {
  const SigmaTable table(schedule_);
  const int64_t end = unclipped(table, config_.lambda_min_clipped);
  check(end >= 1, "{}: lambda_min_clipped {} leaves no timestep", kName, config_.lambda_min_clipped);
  timesteps_ = solver_timesteps(config_, steps, end);
  std::vector<double> sigmas;
  for (double t : timesteps_) sigmas.push_back(table.at(t));
  if (respaces_sigmas(config_)) {
    const bool rounds =
        (config_.use_karras_sigmas || config_.use_lu_lambdas) && config_.beta_schedule != "squaredcos_cap_v2";
    sigmas = respaced_sigmas(config_, table.largest(), table.smallest(), steps);
    timesteps_.clear();
    for (double sigma : sigmas) timesteps_.push_back(std::floor(table.timestep_of(sigma) + (rounds ? 0.5 : 0)));
  }
  sigmas_.assign(sigmas.begin(), sigmas.end());
  sigmas_.push_back(table.final_sigma(config_));
}

NoiseLevel DPMSolverMultistepScheduler::level(size_t index) const { return level_of(sigmas_.at(index)); }

Var DPMSolverMultistepScheduler::clip(const Var& clean) const { return threshold_clean(clean, config_); }

double DPMSolverMultistepScheduler::step_size(size_t index) const {
  return std::log(static_cast<double>(sigmas_[index]) / static_cast<double>(sigmas_[index + 1]));
}

int64_t DPMSolverMultistepScheduler::order_at(size_t index) const {
  const size_t left = timesteps_.size() - index;
  const bool lowers = config_.lower_order_final && timesteps_.size() < 15;
  int64_t most = config_.solver_order;
  if (left == 1 && (lowers || config_.euler_at_final || config_.final_sigmas_type == "zero"))
    most = 1;
  else if (left == 2 && lowers)
    most = 2;
  return std::min({most, config_.solver_order, static_cast<int64_t>(predictions_.size())});
}

DPMSolverMultistepScheduler::Weights DPMSolverMultistepScheduler::weights(size_t index, int64_t order) const {
  const NoiseLevel from = level(index), to = level(index + 1);
  const double h = step_size(index);
  const double u = !predicts_clean_ ? h : stochastic_ ? -2 * h : -h;
  const double k = predicts_clean_ ? -to.signal : stochastic_ ? -2 * to.noise : -to.noise;
  const bool midpoint = order == 2 && config_.solver_type == "midpoint";
  Weights w;
  w.sample = predicts_clean_ ? to.noise / from.noise * (stochastic_ ? std::exp(-h) : 1) : to.signal / from.signal;
  w.d0 = k * phi1(u);
  w.d1 = midpoint ? w.d0 / 2 : k * phi2(u);
  // The stochastic form of diffusers has another sign at its constant.
  w.d2 = k * (stochastic_ ? phi3(u) + 1 : phi3(u));
  const double growth = predicts_clean_ ? -std::expm1(-2 * h) : std::expm1(2 * h);
  w.noise = stochastic_ ? to.noise * std::sqrt(std::max(0.0, growth)) : 0;  // h may be zero, and that rounded
  return w;
}

Tensor DPMSolverMultistepScheduler::predicted_noise(const Tensor& model_output, size_t index, const Tensor& sample,
                                                    const Tensor& clean) const {
  if (config_.thresholding) return noise_from(sample, clean, level(index));
  return apply(noise_coefficients(schedule_.prediction(), level(index)), sample, model_output).value();
}

// D1 and D2 written out as weights of m0, m1 and m2.
Tensor DPMSolverMultistepScheduler::combined(const Weights& w, size_t index, int64_t order,
                                             const Tensor& sample) const {
  const double h = step_size(index);
  double m0 = w.d0, m1 = 0, m2 = 0;
  const auto add_slope = [&](double weight, double& newer, double& older, double past) {
    newer += weight * h / past;
    older -= weight * h / past;
  };
  if (order == 2) add_slope(w.d1, m0, m1, step_size(index - 1));
  if (order == 3) {
    const double h0 = step_size(index - 1), h1 = step_size(index - 2);
    const double bend = (w.d1 * h0 + w.d2 * h) / (h0 + h1);
    add_slope(w.d1 + bend, m0, m1, h0);
    add_slope(-bend, m1, m2, h1);
  }
  Tensor x = weighted_sum(w.sample, sample, m0, predictions_[0]);
  if (order >= 2) kernels::accumulate(x, kernels::affine(predictions_[1], m1, 0));
  if (order == 3) kernels::accumulate(x, kernels::affine(predictions_[2], m2, 0));
  return x;
}

StepResult DPMSolverMultistepScheduler::step(const Tensor& model_output, size_t index, const Tensor& sample,
                                             const NoiseSource& noise) {
  const bool learned = config_.variance_type.starts_with("learned");
  const Tensor answer = learned ? split_variance(model_output, sample).first : model_output;
  if (index != next_index_) predictions_.clear();  // another walk
  next_index_ = index + 1;
  const Tensor clean = predicted_clean(sample, answer, index).value();
  predictions_.push_front(predicts_clean_ ? clean : predicted_noise(answer, index, sample, clean));
  if (predictions_.size() > 3) predictions_.pop_back();
  const int64_t order = order_at(index);
  const Weights w = weights(index, order);
  const Tensor x = combined(w, index, order, sample);
  if (w.noise == 0) return {x, clean};
  return {weighted_sum(1, x, w.noise, noise(sample.shape())), clean};
}

}  // namespace stipple
