#pragma once
#include <functional>

#include "diffusion/scheduler.h"

// From noise to images: the one loop over a sampler's timesteps.
//
//   for each timestep:   m = predict(scale_model_input(x), t);   guide(x, m);   x = step(m, x);   on_step(x)
//
// Whatever steers a trajectory enters here, at one of four points, and works with every sampler:
//
// start     Image-to-image (Meng et al. 2021, arXiv:2108.01073) begins at `first`, from Sampler::add_noise() of an
//           image.
// predict   A guidance that changes what the network answers is a Predict made from others: classifier_free() below.
// guide     A guidance that moves the image before the step, e.g. along the gradient of a loss of the clean image
//           (guidance.h), or that changes the answer by a classifier's gradient (Dhariwal & Nichol 2021,
//           arXiv:2105.05233, section 4). Where it is to differentiate through the network too, `differentiable` puts x
//           and m on one tape.
// on_step   What holds after the step: progress, grids, and inpainting (Lugmayr et al. 2022, arXiv:2201.09865), which
//           overwrites result.sample outside its mask with Sampler::add_noise() of the known image.

namespace stipple {

// The network, labels bound: x [N,H,W,C] as scale_model_input made it, and the timestep of all its images -> like x.
using Predict = std::function<Var(const Var& x, double timestep)>;

// The network with a label for each image, i64 [N].
using LabelledPredict = std::function<Var(const Var& x, double timestep, const Tensor& labels)>;

// Classifier-free guidance: m = m_u + scale (m_c - m_u), with c the labels and u the label that stands for none. Ho &
// Salimans 2022, arXiv:2207.12598, eq. 6, where scale = 1 + w. One batch of 2N images; of N at scale 1, where m = m_c.
Predict classifier_free(LabelledPredict network, const Tensor& labels, int64_t unconditional, double scale);

struct SamplingOptions {
  size_t first = 0;  // index of the timestep to begin with, a multiple of the sampler's order()
  Tensor image;      // if defined, [N,H,W,C] to begin from, with as much noise as belongs there
  std::function<void(size_t index, Var& sample, Var& model_output)> guide;
  bool differentiable = false;  // whether the guide gets `sample` as a leaf and `model_output` as a function of it
  std::function<void(size_t index, size_t total, StepResult& result)> on_step;
  std::function<bool()> cancelled;  // asked before each timestep
};

// `start` [N,H,W,C] is noise of unit variance, or with first > 0 and no image the state at timesteps()[first]. Returns
// the images, undefined where cancelled. The network records a graph only where `differentiable`.
Tensor sample(Sampler& sampler, const Predict& predict, const Tensor& start, const NoiseSource& noise,
              const SamplingOptions& options = {});

// The timestep to begin with so that only the last `strength` of the steps are walked, rounded down, as diffusers'
// image-to-image pipelines do. strength > 1, and so little that no step is left, throw.
size_t first_timestep(const Sampler&, double strength);

}  // namespace stipple
