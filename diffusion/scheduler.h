#pragma once
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "autograd/var.h"

// Noise schedules and the samplers that walk them backwards. Formulas, names, defaults and conversions follow
// diffusers' schedulers; tables are f32, products accumulated in f64.
//
//   forward process   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise     Ho et al. 2020, arXiv:2006.11239, eq. 4
//
// A sampler is one file in diffusion/schedulers/ (ddpm.cpp is the one to copy; euler.cpp where it thinks in sigmas) and
// one line in sampler.cpp. The loop that drives it, and where guidance, image-to-image and inpainting meet, is
// diffusion/sampling.h.

namespace stipple {

enum class Prediction { epsilon, sample, v_prediction };

// scheduler_config.json: the keys of every scheduler class there is. A key that the file lacks has the default of the
// file's class: defaults(). A null is no value, or false; elsewhere it is an error, unless nothing depends on the key.
// Which class knows which key stands in schedulers/config.cpp.
struct SchedulerConfig {
  std::string class_name = "DDPMScheduler";
  int64_t num_train_timesteps = 1000;
  double beta_start = 1e-4, beta_end = 0.02;
  std::string beta_schedule = "linear";              // linear, scaled_linear, squaredcos_cap_v2, sigmoid, exp, laplace
  std::optional<std::vector<double>> trained_betas;  // instead of a beta_schedule
  std::string prediction_type = "epsilon";           // epsilon, sample, v_prediction
  std::string variance_type =
      "fixed_small";  // fixed_small, fixed_small_log, fixed_large, learned, learned_range, or ""
  bool clip_sample = true;
  double clip_sample_range = 1;
  bool thresholding = false;  // instead of clipping
  double dynamic_thresholding_ratio = 0.995, sample_max_value = 1;
  std::string timestep_spacing = "leading";  // leading, linspace, trailing
  int64_t steps_offset = 0;                  // leading only
  bool rescale_betas_zero_snr = false;
  bool set_alpha_to_one = true;

  // Solvers of the probability-flow equation. At most one use_ is true.
  bool use_karras_sigmas = false, use_exponential_sigmas = false, use_beta_sigmas = false, use_lu_lambdas = false;
  std::optional<double> sigma_min, sigma_max;  // ends of Karras', exponential and beta sigmas
  std::string final_sigmas_type = "zero";      // zero, sigma_min
  std::string interpolation_type = "linear";   // linear, log_linear
  std::string timestep_type = "discrete";      // discrete, continuous
  int64_t solver_order = 2;                    // 1, 2, 3
  std::string algorithm_type = "dpmsolver++";  // dpmsolver, dpmsolver++, sde-dpmsolver, sde-dpmsolver++
  std::string solver_type = "midpoint";        // midpoint, heun
  bool lower_order_final = true, euler_at_final = false;
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();

  std::set<std::string> given;  // the keys that came from a file or from set()
  std::string source;           // the file that from_json() read

  static SchedulerConfig defaults(const std::string& class_name);  // those of DDPM for classes that are not here

  // `notices` receives a line for every key that no class of diffusers knows. Values of the wrong type or unknown names
  // throw and name the field.
  static SchedulerConfig from_json(const std::string& text, const std::string& file, std::vector<std::string>& notices);
  std::string to_json() const;  // the keys its class knows, and those given for others; of other classes, what was read
  // What scheduler_config.json is to hold: to_json(), but for a class that is not here the file as it was read, which
  // may hold Python's bare -Infinity. Nobody here knows what its keys mean, so none is left out, changed or added.
  std::string to_file() const;

  // What diffusers' from_config() of one class makes of the configuration of another: it keeps the keys that were
  // given, or are not at their default, those as well that the other class does not know: a third may. The rest have the
  // defaults of the other class.
  SchedulerConfig as(const std::string& class_name) const;

  // Sets one key to a JSON value or a bare word; a key its class does not know throws, and so does a variance_type,
  // which in a file is passed over as diffusers does. `where` begins the message.
  void set(const std::string& key, const std::string& value, const std::string& where);

  // Throws where a key changes nothing, because another key turns off what it is about.
  void check_used(const std::string& key, const std::string& where) const;

  // Throws for names that do not exist and numbers out of range; `where` begins the message. Done by from_json() and by
  // NoiseSchedule.
  void check(const std::string& where = "scheduler") const;
};

// x_0 = sample * x + model_output * m, for an x_t and what the network answered to it, before clipping.
struct Coefficients {
  double sample = 0, model_output = 0;
};

// How much of the clean image and how much of the noise is in a state: x = signal x_0 + noise epsilon.
struct NoiseLevel {
  double signal = 1, noise = 0;
};

// What training needs: the forward process and the training target.
class NoiseSchedule {
 public:
  explicit NoiseSchedule(const SchedulerConfig&);

  int64_t size() const { return static_cast<int64_t>(alphas_cumprod_.size()); }
  float alpha_cumprod(int64_t t) const;  // abar_t; 1 for t = -1
  NoiseLevel level(int64_t t) const;     // sqrt(abar_t), sqrt(1 - abar_t)
  Prediction prediction() const { return prediction_; }

  Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const;  // [N,...], i64 [N]
  // What the network should answer for the noisy image: noise, clean image or velocity.
  Tensor target(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const;

 private:
  std::vector<float> alphas_cumprod_;
  Prediction prediction_;
};

// Draws the random tensor [N,H,W,C] of a step; called only where the step needs one.
using NoiseSource = std::function<Tensor(const Shape&)>;

// What is said at every step rather than in the configuration. One that a sampler does not take is an error.
struct StepOptions {
  std::optional<double> eta;                               // DDIM, default 0
  std::optional<bool> use_clipped_model_output;            // DDIM, default false
  std::optional<double> s_churn, s_tmin, s_tmax, s_noise;  // Euler, defaults 0, 0, infinity, 1
};

struct StepResult {
  Tensor sample;  // x at the next timestep
  Tensor clean;   // the predicted x_0, after clipping
};

// A sampler: walks timesteps() from noise to image. One instance walks one trajectory at a time, from any timestep on.
class Sampler {
 public:
  virtual ~Sampler() = default;

  const SchedulerConfig& config() const { return config_; }
  const NoiseSchedule& schedule() const { return schedule_; }
  const std::vector<double>& timesteps() const { return timesteps_; }  // what the network is told, in order

  virtual int64_t order() const { return 1; }  // how many timesteps make one step: a walk begins at a multiple of it
  virtual double init_noise_sigma() const { return 1; }
  // What sample holds at timesteps()[index], and the factor by which the network sees it smaller.
  virtual NoiseLevel level(size_t index) const;
  virtual double input_scale(size_t /*index*/) const { return 1; }
  // From `sample` at timesteps()[index], and what the network answered there, to the next timestep. f32 or f64.
  virtual StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) = 0;
  // The predicted clean image within its range, where the sampler's configuration asks for that.
  virtual Var clip(const Var& clean) const { return clean; }

  Var scale_model_input(const Var& sample, size_t index) const;
  // The state at timesteps()[index] that a clean image leads to: image-to-image begins there.
  Tensor add_noise(const Tensor& clean, const Tensor& noise, size_t index) const;
  // The predicted clean image of a state and of what the network answered, before clip(). Where the state is noise only
  // and so is the prediction, it is one that clip() takes to the ends of the range; throws where nothing is clipped.
  Coefficients clean_from(size_t index) const;
  // clip() of it: what a loss guidance differentiates, with respect to either.
  Var predicted_clean(const Var& sample, const Var& model_output, size_t index) const;

 protected:
  explicit Sampler(const SchedulerConfig&, std::vector<double> timesteps = {});

  int64_t timestep(size_t index) const { return static_cast<int64_t>(timesteps_.at(index)); }

  SchedulerConfig config_;
  NoiseSchedule schedule_;
  std::vector<double> timesteps_;
};

// The class of a sampler's name: "ddim" or "DDIMScheduler" -> "DDIMScheduler". Unknown names throw.
std::string scheduler_class(const std::string& sampler);

// A sampler by its name, of a configuration as() its class. `steps` < 1 or > num_train_timesteps, unknown names, values
// and options that it cannot do throw.
std::unique_ptr<Sampler> make_sampler(const std::string& name, const SchedulerConfig&, int64_t steps,
                                      const StepOptions& = {});

}  // namespace stipple
