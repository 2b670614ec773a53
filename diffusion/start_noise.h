#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffusion/scheduler.h"

// Where the noise of a batch of images comes from: what they start from, and what a sampler draws on the way.

namespace stipple {

struct BatchNoise {
  Tensor start;  // [N, H, W, C], variance 1
  NoiseSource steps;
};

// Each image from its own seed, drawn as NCHW, PyTorch's order; `rng` is philox or torch.
BatchNoise seeded_noise(const std::string& rng, const std::vector<uint64_t>& seeds, const Shape& nhwc);

// Image n starts from slerp(start of seed `from`, start of seed `to`, at[n]); on the way all draw what `from` draws, so
// that neighbours differ by their start alone.
BatchNoise interpolated_noise(const std::string& rng, uint64_t from, uint64_t to, const std::vector<double>& at,
                              const Shape& nhwc);

// Along the arc between two noises, which keeps their length where a straight line would shorten it:
// (sin((1 - t) w) a + sin(t w) b) / sin w, w the angle between them. Shoemake 1985.
Tensor slerp(const Tensor& a, const Tensor& b, double t);

// `noise` of a safetensors file, and noise.NNN for the NNN-th call of the sampler's step, which `step` counts, whether
// the calls before it drew any or not.
BatchNoise noise_from_file(const std::string& path, const Shape& nhwc, std::shared_ptr<int64_t> step);

// How many images such a file starts: N of its `noise` [N,C,H,W].
int64_t noise_count(const std::string& noise_file);

}  // namespace stipple
