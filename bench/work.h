#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace stipple::bench {

// What one request of PROTOCOL.md asks for, ready to run.
struct Work {
  std::function<void()> run;
  double flop = 0, bytes = 0;
  bool network = false;  // its answer says how much memory was needed
};

// Throws where the request cannot be served.
Work prepare(const nlohmann::json& request);

Work prepare_operation(const nlohmann::json& request);      // operations.cpp
Work prepare_training_step(const nlohmann::json& request);  // networks.cpp
Work prepare_forward(const nlohmann::json& request);

double median_seconds(const std::function<void()>& run, int64_t repeats);
double median(std::vector<double>);

}  // namespace stipple::bench
