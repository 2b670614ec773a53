#include "nn/learning_rate.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace stipple {

void check_learning_rate_schedule(const std::string& name) {
  check(name == "constant" || name == "constant_with_warmup" || name == "linear" || name == "cosine",
        "learning-rate schedule '{}' is unknown; there are constant, constant_with_warmup, linear, cosine", name);
}

double LearningRateSchedule::factor(int64_t step) const {
  if (name == "constant") return 1;
  if (step < warmup_steps) return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup_steps));
  if (name == "constant_with_warmup") return 1;
  const double rest = static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
  const double progress = static_cast<double>(step - warmup_steps) / rest;
  if (name == "linear") return std::max(0.0, 1 - progress);
  return std::max(0.0, 0.5 * (1 + std::cos(M_PI * progress)));
}

}  // namespace stipple
