#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/pipeline.h"
#include "diffusion/sampling.h"

namespace stipple {

// What to draw with a pipeline.
struct GenerateOptions {
  std::string sampler;  // "ddpm", "ddim", "euler", ...; empty: what the pipeline's scheduler_config.json names
  int64_t steps = 0;    // 0: diffusers' default for the sampler (DDPM 1000, others 50)
  StepOptions step;
  std::map<std::string, std::string>
      scheduler;                  // keys of scheduler_config.json and what they are to be instead, as JSON
  int64_t height = 0, width = 0;  // 0: the network's sample_size
  double guidance_scale = 1;      // other than 1: classifier-free guidance
  std::vector<uint64_t> seeds;    // one an image
  std::vector<int64_t> classes;   // one an image, or none
  std::string rng = "philox";     // or "torch": the numbers of torch.manual_seed(seed)
  int64_t batch_size = 64;        // images drawn together

  std::string
      noise_file;  // safetensors: `noise` [N,C,H,W] to start from, noise.000, ... for the steps; instead of seeds
  std::string trajectory_file;  // safetensors to write: step.000, ..., x0.000, ..., NCHW

  std::function<void(int64_t done, int64_t total)> on_step;  // denoising steps over all batches
  std::function<bool()> cancelled;
};

// How many images a --noise file starts: N of its `noise` [N,C,H,W].
int64_t noise_count(const std::string& noise_file);

// Images [N, H, W, C] in about [-1, 1], on the weights the pipeline's parameters hold now; undefined where cancelled.
Tensor generate(Pipeline&, const GenerateOptions&);

}  // namespace stipple
