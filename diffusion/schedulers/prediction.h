#pragma once
#include <string>
#include <vector>

#include "diffusion/scheduler.h"

// The parts that samplers share: from what the network answered to a clean image, and which timesteps to visit.

namespace stipple {

Prediction prediction_of(const std::string& prediction_type);

// With a = abar_t, b = 1 - a and the network's answer m:
//   epsilon        x_0 = (x - sqrt(b) m) / sqrt(a)                  Ho et al. 2020, arXiv:2006.11239, eq. 15
//   sample         x_0 = m
//   v_prediction   x_0 = sqrt(a) x - sqrt(b) m                      Salimans & Ho 2022, arXiv:2202.00512, appendix D
Coefficients clean_coefficients(Prediction, float alpha_cumprod);
Tensor predict_clean(const Coefficients&, const Tensor& sample, const Tensor& model_output);

// The noise in x that belongs to a clean image: (x - sqrt(a) x_0) / sqrt(b), from the forward process.
Tensor epsilon_from(const Tensor& sample, const Tensor& clean, float alpha_cumprod);

// The clean image [N,...] within its range: thresholding, else clip_sample, else as it is.
//   clip_sample    clamp(x_0, -r, r), r = clip_sample_range
//   thresholding   an image's s = quantile(|x_0|, dynamic_thresholding_ratio), at least 1, at most sample_max_value;
//                  clamp(x_0, -s, s) / s                            Saharia et al. 2022, arXiv:2205.11487, section 2.3
Tensor clip_clean(const Tensor& clean, const SchedulerConfig&);

// `steps` of the T = num_train_timesteps, descending (Lin et al. 2023, arXiv:2305.08891, table 2):
//   leading    0, r, 2r, ... with r = T / steps rounded down, plus steps_offset
//   linspace   from 0 to T - 1 evenly, rounded half to even
//   trailing   T - 1 downwards in strides of T / steps, rounded half to even (diffusers adds a timestep -1 where the
//              strides do not quite reach 0, e.g. at 61 steps of 1000)
std::vector<double> spaced_timesteps(const SchedulerConfig&, int64_t steps);

Tensor weighted_sum(double a, const Tensor& x, double b, const Tensor& y);  // a x + b y

}  // namespace stipple
