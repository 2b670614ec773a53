#include "bench/work.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/gpu.h"

namespace stipple::bench {

bool is_for_gpu(const nlohmann::json& request) { return request.value("device", "cpu") == "cuda"; }

Work prepare(const nlohmann::json& request) {
  const std::string operation = request.at("op");
  if (operation == "training_step") return prepare_training_step(request);
  if (operation == "forward") return prepare_forward(request);
  if (operation == "peak") return prepare_peak(request);
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
  return median(seconds);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace stipple::bench
