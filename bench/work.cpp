#include "bench/work.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

namespace stipple::bench {

Work prepare(const nlohmann::json& request) {
  const std::string operation = request.at("op");
  if (operation == "training_step") return prepare_training_step(request);
  if (operation == "forward") return prepare_forward(request);
  return prepare_operation(request);
}

double median_seconds(const std::function<void()>& run, int64_t repeats) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    run();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const size_t half = seconds.size() / 2;
  return seconds.size() % 2 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
}

}  // namespace stipple::bench
