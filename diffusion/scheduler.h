#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

// Noise schedules and the samplers that walk them backwards. Formulas and names follow diffusers' schedulers; tables
// are f32, products accumulated in f64, coefficients f32, as there.
//
//   forward process   x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise     Ho et al. 2020, arXiv:2006.11239, eq. 4
//
// A sampler is one file in diffusion/schedulers/ (ddpm.cpp is the one to copy) and one line in sampler.cpp. The loop
// that drives it, and where guidance, image-to-image and inpainting meet, is diffusion/sampling.h.

namespace stipple {

enum class Prediction { epsilon, sample, v_prediction };

// scheduler_config.json. A key that the file lacks, or that is null there, has its default here.
struct SchedulerConfig {
  std::string class_name = "DDPMScheduler";
  int64_t num_train_timesteps = 1000;
  double beta_start = 1e-4, beta_end = 0.02;
  std::string beta_schedule = "linear";              // linear, scaled_linear, squaredcos_cap_v2, sigmoid
  std::optional<std::vector<double>> trained_betas;  // instead of a beta_schedule
  std::string prediction_type = "epsilon";           // epsilon, sample, v_prediction
  std::string variance_type = "fixed_small";         // DDPM: fixed_small, fixed_small_log, fixed_large
  bool clip_sample = true;
  double clip_sample_range = 1;
  bool thresholding = false;  // instead of clipping
  double dynamic_thresholding_ratio = 0.995, sample_max_value = 1;
  std::string timestep_spacing = "leading";  // leading, linspace, trailing
  int64_t steps_offset = 0;                  // leading only
  bool rescale_betas_zero_snr = false;
  bool set_alpha_to_one = true;  // DDIM

  // `notices` receives a line for every unknown key. Values of the wrong type or unknown names throw and name the
  // field.
  static SchedulerConfig from_json(const std::string& text, const std::string& file, std::vector<std::string>& notices);
  std::string to_json() const;

  // Throws for names that do not exist and numbers out of range; `where` begins the message. Done by from_json() and by
  // NoiseSchedule.
  void check(const std::string& where = "scheduler") const;
};

// x_0 = sample * x + model_output * m, for an x_t and what the network answered to it, before clipping.
struct Coefficients {
  double sample = 0, model_output = 0;
};

// What training needs: the forward process and the training target.
class NoiseSchedule {
 public:
  explicit NoiseSchedule(const SchedulerConfig&);

  int64_t size() const { return static_cast<int64_t>(alphas_cumprod_.size()); }
  float alpha_cumprod(int64_t t) const;  // abar_t; 1 for t = -1
  Prediction prediction() const { return prediction_; }

  Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const;  // [N,...], i64 [N]
  // What the network should answer for the noisy image: noise, clean image or velocity.
  Tensor target(const Tensor& clean, const Tensor& noise, const Tensor& timesteps) const;
  // The predicted clean image as a linear function; throws where abar_t = 0 and the network predicts noise.
  Coefficients clean_from(int64_t t) const;

 private:
  std::vector<float> alphas_cumprod_;
  Prediction prediction_;
};

// Draws the random tensor [N,H,W,C] of a step; called only where the step needs one.
using NoiseSource = std::function<Tensor(const Shape&)>;

struct StepOptions {
  double eta = 0;                         // DDIM
  bool use_clipped_model_output = false;  // DDIM
};

struct StepResult {
  Tensor sample;  // x_{t-1}
  Tensor clean;   // the predicted x_0, after clipping
};

// A sampler: walks timesteps() from noise to image. One instance walks one trajectory at a time.
class Sampler {
 public:
  virtual ~Sampler() = default;

  const SchedulerConfig& config() const { return config_; }
  const NoiseSchedule& schedule() const { return schedule_; }
  const std::vector<double>& timesteps() const { return timesteps_; }  // what the network is told, in order

  virtual double init_noise_sigma() const { return 1; }
  virtual Tensor scale_model_input(const Tensor& sample, size_t /*index*/) const { return sample; }
  // From `sample` at timesteps()[index], and what the network answered there, to the next timestep. f32 or f64.
  virtual StepResult step(const Tensor& model_output, size_t index, const Tensor& sample, const NoiseSource&) = 0;
  // The predicted clean image for what the network saw (scale_model_input) and answered, before clipping: two
  // constants, so that a loss of x_0 can be differentiated with respect to either.
  virtual Coefficients clean_from(double timestep) const;

 protected:
  Sampler(const SchedulerConfig&, std::vector<double> timesteps);

  int64_t timestep(size_t index) const { return static_cast<int64_t>(timesteps_.at(index)); }

  SchedulerConfig config_;
  NoiseSchedule schedule_;
  std::vector<double> timesteps_;
};

// "ddpm", "ddim", or a diffusers class name; `steps` < 1 or > num_train_timesteps and unknown names throw.
std::unique_ptr<Sampler> make_sampler(const std::string& name, const SchedulerConfig&, int64_t steps,
                                      const StepOptions& = {});

}  // namespace stipple
