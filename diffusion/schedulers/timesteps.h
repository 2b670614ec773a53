#pragma once
#include "diffusion/scheduler.h"

// Which timesteps to visit. Lin et al. 2023, arXiv:2305.08891, table 2.

namespace stipple {

std::vector<double> linspace(double first, double last, int64_t n);  // as numpy's; n = 1 is `first`

// `steps` of the T = num_train_timesteps, descending:
//   leading    0, r, 2r, ... with r = T / steps rounded down, plus steps_offset
//   linspace   from 0 to T - 1 evenly; rounded half to even, or with `fractions` as f32 has them
//   trailing   T - 1 downwards in strides of T / steps, rounded half to even (diffusers adds a timestep -1 where the
//              strides do not quite reach 0, e.g. at 61 steps of 1000)
// `steps` < 1 or > T, and an offset that leaves the schedule, throw.
std::vector<double> spaced_timesteps(const SchedulerConfig&, int64_t steps, bool fractions = false);

// DPM-Solver's: the same of steps + 1, without the last, 0; trailing leaves none out. Only timesteps below `end` are
// visited; trailing strides of T / steps may then be fewer than `steps`.
std::vector<double> solver_timesteps(const SchedulerConfig&, int64_t steps, int64_t end);

}  // namespace stipple
