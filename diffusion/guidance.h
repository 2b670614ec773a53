#pragma once
#include <string>
#include <vector>

#include "diffusion/sampling.h"

// Guidance by a loss: pictures are drawn towards whatever a function of their predicted clean images finds small.
//
//   x_0 = clip(a x + b m)                 Sampler::predicted_clean() of the state x and the network's answer m
//   x <- x - scale / c^2 dL(x_0) / dx     then the sampler's step from there, with the same m
//
// c is Sampler::input_scale(): 1 for DDPM, DDIM and DPM-Solver, where this is the loop of Hugging Face's diffusion
// course (unit 2, "Fine-Tuning and Guidance"). It is what the network sees, c x, that moves by scale dL/d(c x): the
// states of Euler and Heun are larger by 1 / c, and so a scale means the same to them. Heun's second look at a step
// corrects a slope and is left alone. Where x_0 is clipped nothing pulls: that keeps large scales from overshooting,
// and samplers that do not clip take smaller ones.
//
// The gradient goes one of two routes:
//   x0     m is held constant, so dx_0/dx = a. Costs next to nothing; a = 1/sqrt(abar) is 124 where noise is strongest
//          (t = 975, the usual linear schedule).
//   unet   through m too: a backward pass of the network every step. Weaker at the same scale, and more faithful to
//          what the network knows (Chung et al. 2022, arXiv:2209.14687, eq. 16, take the same gradient). Weights are
//          frozen: they get no gradient, and only what the gradient of the picture needs is kept.

namespace stipple {

// Of predicted clean images [N,H,W,C] in about [-1, 1], one number, []. Losses add up as numbers do:
//   [](const Var& clean) { return color({1, 0, 0})(clean) + 0.1 * mean(clean * clean); }
using ImageLoss = std::function<Var(const Var& clean)>;

enum class GuideRoute { x0, unet };
GuideRoute guide_route(const std::string& name);  // throws for unknown names

struct LossGuidance {
  ImageLoss loss;  // none: no guidance
  double scale = 40;
  GuideRoute route = GuideRoute::x0;
};

// Has a walk of this sampler guided. What cannot work throws: a scale that is no finite number, ddim-inverse, which
// walks away from images, and route x0 where the network predicts the clean image itself, which then does not depend
// on x.
void guide(SamplingOptions&, const LossGuidance&, const Sampler&);

// Mean absolute difference to a colour, over all pixels of all images, so that each of N images is pulled by 1/N.
// `values`: one for each channel, from 0 to 1.
ImageLoss color_loss(const std::vector<double>& values);

// "#55FFAA" or "55FFAA" -> red, green, blue from 0 to 1. Anything else throws.
std::vector<double> parse_color(const std::string& hexadecimal);

}  // namespace stipple
