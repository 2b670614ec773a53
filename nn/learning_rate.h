#pragma once
#include <cstdint>
#include <string>

namespace stipple {

// Learning-rate schedules of diffusers (optimization.py). Except for "constant" (as there) the rate climbs linearly
// from 0 over the warm-up steps; then, with p going from 0 to 1 over the rest, the factor is
//   constant, constant_with_warmup  1
//   linear                          1 - p
//   cosine                          (1 + cos(pi p)) / 2
//   cosine_with_restarts            the same, num_cycles times in succession
//   polynomial                      down to 1e-7 / learning_rate as (1 - p)^power
struct LearningRateSchedule {
  std::string name = "cosine";
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;
  double learning_rate = 0;  // the base rate: only "polynomial" asks for it
  double num_cycles = 1;
  double power = 1;

  double factor(int64_t step) const;  // of the base rate, at optimizer step `step`, counted from 0
};

void check_learning_rate_schedule(const std::string& name);  // throws and lists the names there are

}  // namespace stipple
