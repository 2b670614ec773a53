#include "diffusion/training/metrics.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

std::string line_of(const StepReport& r) {
  nlohmann::ordered_json j;
  j["step"] = r.step;
  j["epoch"] = r.epoch;
  j["loss"] = r.loss;  // nlohmann writes null for what is not finite
  j["lr"] = r.lr;
  j["grad_norm"] = r.grad_norm;
  j["ema_decay"] = r.ema_decay;
  j["step_seconds"] = r.step_seconds;
  return j.dump() + "\n";
}

}  // namespace

Metrics::Metrics(std::string path, int64_t keep) : path_(std::move(path)), file_(nullptr, &std::fclose) {
  std::string kept;
  if (keep > 0 && std::filesystem::exists(path_)) {
    std::istringstream lines(read_file(path_));
    for (std::string line; std::getline(lines, line);) {
      const auto j = nlohmann::json::parse(line, nullptr, false);
      if (!j.is_object() || j.value("step", keep + 1) > keep) break;
      losses_.push_back(j.at("loss").is_number() ? j.at("loss").get<float>() : NAN);
      kept += line + "\n";
    }
  }
  write_file_atomically(path_, kept);
  file_.reset(std::fopen(path_.c_str(), "a"));
  check(file_ != nullptr, "cannot write {}: {}", path_, std::strerror(errno));
}

void Metrics::append(const StepReport& report) {
  const std::string line = line_of(report);
  const bool written =
      std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() && std::fflush(file_.get()) == 0;
  check(written, "cannot write {}: {}", path_, std::strerror(errno));
  losses_.push_back(static_cast<float>(report.loss));
}

}  // namespace stipple
