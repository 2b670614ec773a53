#pragma once
#include <string>
#include <utility>

#include "autograd/var.h"
#include "diffusion/scheduler.h"

// From what the network answered to a clean image and to the noise. Samplers share this.

namespace stipple {

Prediction prediction_of(const std::string& prediction_type);

// For a state x = s x_0 + n epsilon, s^2 + n^2 = c^2 (1, or where sigmas are meant s = 1), and the network's answer m:
//   epsilon        x_0 = (x - n m) / s           epsilon = m                     Ho et al. 2020, arXiv:2006.11239, eq. 15
//   sample         x_0 = m                       epsilon = (x - s m) / n
//   v_prediction   x_0 = s x / c^2 - n m / c     epsilon = n x / c^2 + s m / c   Salimans & Ho 2022, arXiv:2202.00512, D
// Both throw where they would divide by zero.
Coefficients clean_coefficients(Prediction, const NoiseLevel&);
Coefficients noise_coefficients(Prediction, const NoiseLevel&);
Var apply(const Coefficients&, const Var& sample, const Var& model_output);

// Where the variance is learned, the network answers twice the channels of the image: the second half is about it.
std::pair<Tensor, Tensor> split_variance(const Tensor& model_output, const Tensor& sample);

// The noise in x that belongs to a clean image: (x - s x_0) / n.
Tensor noise_from(const Tensor& sample, const Tensor& clean, const NoiseLevel&);

// The clean image [N,...] within its range: clamp(x_0, -r, r), r = clip_sample_range, if clip_sample.
Var clip_clean(const Var& clean, const SchedulerConfig&);
// If thresholding: an image's s = quantile(|x_0|, dynamic_thresholding_ratio), at least 1, at most sample_max_value;
// clamp(x_0 / s, -1, 1). Saharia et al. 2022, arXiv:2205.11487, section 2.3. To a gradient s is a constant; PyTorch would
// send what changes s to the one or two pixels that happen to be the quantile.
Var threshold_clean(const Var& clean, const SchedulerConfig&);

Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y);  // a x + b y

}  // namespace stipple
