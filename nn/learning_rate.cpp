#include "nn/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/error.h"

namespace stipple {
namespace {

constexpr double kPolynomialEnd = 1e-7;

double constant(const LearningRateSchedule&, double) { return 1; }
double linear_decay(const LearningRateSchedule&, double p) { return std::max(0.0, 1 - p); }
double cosine(const LearningRateSchedule&, double p) { return std::max(0.0, 0.5 * (1 + std::cos(M_PI * p))); }

double cosine_with_restarts(const LearningRateSchedule& s, double p) {
  return p >= 1 ? 0 : cosine(s, std::fmod(s.num_cycles * p, 1.0));
}

double polynomial(const LearningRateSchedule& s, double p) {
  check(s.learning_rate > kPolynomialEnd, "learning-rate schedule 'polynomial': the rate {} is not above {}, its end",
        s.learning_rate, kPolynomialEnd);
  const double end = kPolynomialEnd / s.learning_rate;
  return p > 1 ? end : (1 - end) * std::pow(1 - p, s.power) + end;
}

// The factor after the warm-up, from the share of the remaining steps that are done.
using Decay = double (*)(const LearningRateSchedule&, double p);
const std::map<std::string, Decay> kDecays = {{"constant", constant},
                                              {"constant_with_warmup", constant},
                                              {"linear", linear_decay},
                                              {"cosine", cosine},
                                              {"cosine_with_restarts", cosine_with_restarts},
                                              {"polynomial", polynomial}};

}  // namespace

void check_learning_rate_schedule(const std::string& name) {
  std::string known;
  for (const auto& [each, decay] : kDecays) known += (known.empty() ? "" : ", ") + each;
  check(kDecays.count(name) > 0, "learning-rate schedule '{}' is unknown; there are {}", name, known);
}

double LearningRateSchedule::factor(int64_t step) const {
  check_learning_rate_schedule(name);
  const bool warming_up = name != "constant" && step < warmup_steps;
  if (warming_up) return static_cast<double>(step) / static_cast<double>(warmup_steps);
  const double rest = static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
  return kDecays.at(name)(*this, static_cast<double>(step - warmup_steps) / rest);
}

}  // namespace stipple
