#include "apps/command.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "apps/number_flags.h"
#include "diffusion/pipeline.h"
#include "kernels/cpu/parallel.h"
#include "tensor/error.h"

namespace stipple {
namespace {

volatile std::sig_atomic_t signals_seen = 0, somebody_asks = 0;

void on_signal(int) {
  if (signals_seen || !somebody_asks) _exit(130);
  signals_seen = 1;
}

int64_t parse_number(const std::string& flag, const std::string& text) {
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
    fail_usage("{}: '{}' is no number; expected something like 3, 0-15 or 1,4,9", flag, text);
  return std::stoll(text);
}

}  // namespace

void CommonOptions::add_to(CLI::App& app, bool with_seed, bool with_json) {
  app.add_option("--device", device_name, "where to compute: cpu, cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", threads, "threads on the CPU (default: what this machine or container may use)")
      ->check(CLI::Range(1, 1024));
  if (with_seed)
    app.add_option("--seed", seed, "seed of every random choice")->check(seed_number())->capture_default_str();
  if (with_json) app.add_flag("--json", json, "answer as JSON on standard output");
}

void CommonOptions::apply() const {
  check(is_available(device()), "--device {}: this build of stipple computes on: cpu", device_name);
  cpu::set_threads(threads ? threads : cpu::available_threads());
}

void ModelOptions::add_to(CLI::App& app) {
  app.add_option("--model", folder, "pipeline folder")->required();
  app.add_option("--variant", variant, "of its weights, where there are several: fp16, ema, ...");
}

std::unique_ptr<Pipeline> ModelOptions::load(Device device, MixedPrecision precision) const {
  check_mixed_precision(precision, device);
  std::vector<std::string> notices;
  auto pipeline = Pipeline::load(folder, notices, variant);
  print_notices(notices);
  pipeline->parameters.to(device);
  set_mixed_precision(pipeline->parameters, precision);
  return pipeline;
}

void add_mixed_precision(CLI::App& app, MixedPrecision& to) {
  app.add_option_function<std::string>(
         "--mixed-precision", [&to](const std::string& name) { to = mixed_precision(name); },
         "what the layers compute in with --device cuda: no (f32), tf32, bf16")
      ->check(CLI::IsMember({"no", "tf32", "bf16"}))
      ->default_str(name_of(to));
}

void add_save_dtype(CLI::App& app, std::string& to) {
  app.add_option("--save-dtype", to, "type of the weights in the file: f32, f16, bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
}

void print_notices(const std::vector<std::string>& notices) {
  for (const std::string& notice : notices) std::fprintf(stderr, "notice: %s\n", notice.c_str());
}

bool interrupted() {
  somebody_asks = 1;
  return signals_seen != 0;
}

void watch_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

std::vector<int64_t> parse_ranges(const std::string& flag, const std::string& text) {
  constexpr int64_t kMost = 1 << 20;
  std::vector<int64_t> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, comma - begin);
    const size_t dash = item.find('-');
    const int64_t first = parse_number(flag, item.substr(0, dash));
    const int64_t last = dash == std::string::npos ? first : parse_number(flag, item.substr(dash + 1));
    if (first > last) fail_usage("{}: '{}' is no range: it ends before it begins", flag, item);
    if (last - first >= kMost) fail_usage("{}: '{}' is more than {} numbers", flag, item, kMost);
    for (int64_t n = first; n <= last; ++n) numbers.push_back(n);
    begin = comma + 1;
  }
  return numbers;
}

}  // namespace stipple
