#pragma once
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/mixed_precision.h"

// What the subcommands of `stipple` share. Each has a file of its own with one function that adds it to the command
// line; the work is done in the library.

namespace stipple {

class Pipeline;

struct CommonOptions {
  std::string device_name = "cpu";
  int threads = 0;  // 0: what the container may use
  uint64_t seed = 0;
  bool json = false;

  void add_to(CLI::App&, bool with_seed, bool with_json);
  void apply() const;  // sets the number of threads, checks the device
  Device device() const { return device_name == "cuda" ? Device::cuda : Device::cpu; }
};

// The pipeline that a command reads.
struct ModelOptions {
  std::string folder, variant;

  void add_to(CLI::App&);
  std::unique_ptr<Pipeline> load(Device = Device::cpu,
                                 MixedPrecision = MixedPrecision::no) const;  // prints its notices
};

void add_mixed_precision(CLI::App&, MixedPrecision& to);  // --mixed-precision
void add_save_dtype(CLI::App&, std::string& to);          // --save-dtype

void add_train(CLI::App&);
void add_sample(CLI::App&);
void add_info(CLI::App&);
void add_forward(CLI::App&);
void add_data(CLI::App&);
void add_convert(CLI::App&);
void add_profile(CLI::App&);

void print_notices(const std::vector<std::string>&);  // on standard error

// Wrong use of the command line: exit status 2.
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> message, Args&&... args) {
  throw CLI::ValidationError(fmt::format(message, std::forward<Args>(args)...), CLI::ExitCodes::ValidationError);
}

// Whether Ctrl-C or SIGTERM came. Once somebody has asked, the first is left to whoever asks again and the second ends
// the program at once; until then the first does.
bool interrupted();
void watch_interrupts();
// Thrown when work was left undone because of it; exit status 130.
struct Interrupted {};

// "0-3,7" -> 0 1 2 3 7. Anything else throws and names `flag`.
std::vector<int64_t> parse_ranges(const std::string& flag, const std::string& text);

}  // namespace stipple
