#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/pipeline.h"
#include "diffusion/sampling.h"
#include "diffusion/start_noise.h"

namespace stipple {

// `count` images from seed `from` to seed `to`, both included, along the arc between their noises.
struct Interpolation {
  uint64_t from, to;
  int64_t count;
};

// What to draw with a pipeline.
struct GenerateOptions {
  std::string sampler;  // "ddpm", "ddim", "euler", ...; empty: what the pipeline's scheduler_config.json names
  int64_t steps = 0;    // 0: diffusers' default for the sampler (DDPM 1000, others 50)
  StepOptions step;
  // Keys of scheduler_config.json and what they are to be instead, as JSON.
  std::map<std::string, std::string> scheduler;
  int64_t height = 0, width = 0;  // 0: the network's sample_size
  double guidance_scale = 1;      // other than 1: classifier-free guidance
  LossGuidance guide;             // its loss is a mean over images: a batch's counts by its share of all
  std::vector<uint64_t> seeds;    // one an image
  std::vector<int64_t> classes;   // one an image, or none
  std::string rng = "philox";     // or "torch": the numbers of torch.manual_seed(seed)
  int64_t batch_size = 64;        // images drawn together

  std::optional<Interpolation> interpolate;  // instead of seeds
  // Safetensors: `noise` [N,C,H,W] to start from, noise.000, ... for the steps; instead of seeds.
  std::string noise_file;

  Tensor init_image;      // f32 [H,W,C] in [-1, 1]: image-to-image
  double strength = 0.8;  // the share of the steps that is walked from it
  bool invert = false;    // start from the noise to which DDIM, walked backwards, leads it instead

  std::string trajectory_file;  // safetensors to write: step.000, ..., x0.000, ..., NCHW

  std::function<void(int64_t done, int64_t total)> on_step;  // denoising steps over all batches
  // All images after a step: the state, scaled to variance 1, and the predicted clean image.
  std::function<void(const Tensor& state, const Tensor& clean, int64_t step, int64_t steps)> watch;
  std::function<bool()> cancelled;
  // What generate() returns, before the trajectory is written: a disk that is too small for that costs no pictures.
  std::function<void(const Tensor& images)> on_images;
};

int64_t image_count(const GenerateOptions&);                 // how many that makes
Shape image_shape(const Pipeline&, const GenerateOptions&);  // [H,W,C] of each; sizes the network cannot take throw

// The sampler's configuration: the pipeline's, converted to the class of `sampler`, with the keys that are said anew.
SchedulerConfig scheduler_of(const Pipeline&, const GenerateOptions&);

// Throws what generate() would throw about these options, and draws nothing.
void check_generate(Pipeline&, const GenerateOptions&);

// Images [N, H, W, C] in about [-1, 1], on the weights the pipeline's parameters hold now; undefined where cancelled.
Tensor generate(Pipeline&, const GenerateOptions&);

}  // namespace stipple
