#pragma once
#include <cstdint>
#include <string>

namespace stipple {

// Learning-rate schedules of diffusers (optimization.py): "constant", "constant_with_warmup", "linear", "cosine". Except
// for "constant" (as there) the rate climbs linearly from 0 over the warm-up steps.
struct LearningRateSchedule {
  std::string name = "cosine";
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;

  double factor(int64_t step) const;  // of the base rate, at optimizer step `step`, counted from 0
};

void check_learning_rate_schedule(const std::string& name);  // throws and lists the names there are

}  // namespace stipple
