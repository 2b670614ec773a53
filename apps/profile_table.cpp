#include "apps/profile_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/emulator/model_time.h"

namespace stipple {
namespace {

using emulator::KernelCounts;
using emulator::LaunchCounts;
using emulator::ModelTime;
using emulator::Path;
using emulator::Requests;
using emulator::Work;
using Json = nlohmann::ordered_json;

constexpr double kMega = 1e6, kGiga = 1e9;

void print(const std::string& line) { std::printf("%s\n", line.c_str()); }

double ratio(int64_t a, int64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }

// "8.0/4.0": a request's sectors or wavefronts, and the least there could be.
std::string of_least(const Requests& r) {
  if (r.count == 0) return "-";
  return fmt::format("{:.2f}/{:.2f}", ratio(r.parts, r.count), ratio(r.least_parts, r.count));
}

std::string requests_of(const Work& work) {
  return fmt::format("{:>12}{:>12}{:>12}{:>12}", of_least(work[Path::global_load]), of_least(work[Path::global_store]),
                     of_least(work[Path::shared_load]), of_least(work[Path::shared_store]));
}

std::string model_times_of(const KernelCounts& kernel) {
  std::string times;
  for (const emulator::Gpu& gpu : emulator::gpus())
    times += fmt::format("{:>9.2f}", model_time(kernel, gpu).seconds * 1e6);
  return times;
}

// What bounds the kernel on each GPU; once, where it is the same.
std::string bounds_of(const KernelCounts& kernel) {
  std::vector<std::string> bounds;
  for (const emulator::Gpu& gpu : emulator::gpus()) {
    const std::string bound = model_time(kernel, gpu).bound;
    if (std::find(bounds.begin(), bounds.end(), bound) == bounds.end()) bounds.push_back(bound);
  }
  std::string text;
  for (const std::string& bound : bounds) text += (text.empty() ? "" : ", ") + bound;
  return text;
}

void print_header() {
  print(fmt::format("{:>8}{:>24}{:>24}{:>10}{:>19}{:>9}{:>36}", "", "sectors/request", "wavefronts/request", "moved/",
                    "model DRAM", "tensor", "model time, us, at least"));
  std::string gpus;
  for (const emulator::Gpu& gpu : emulator::gpus()) gpus += fmt::format("{:>9}", gpu.name);
  print(fmt::format("{:>8}{:>12}{:>12}{:>12}{:>12}{:>10}{:>9}{:>10}{:>9}{}  {}", "launches", "load", "store", "load",
                    "store", "compuls.", "MB", "/compuls.", "GFLOP", gpus, "kernel (model bound)"));
}

void print_kernel(const KernelCounts& kernel) {
  const LaunchCounts c = kernel.total();
  print(fmt::format("{:>8}{}{:>9.2f}x{:>9.3f}{:>9.2f}x{:>9.4f}{}  {} ({})", kernel.launches.size(), requests_of(c.work),
                    ratio(c.work.moved_bytes(), c.compulsory_bytes), static_cast<double>(c.dram_bytes()) / kMega,
                    ratio(c.dram_bytes(), c.compulsory_bytes), c.work.tensor_flop() / kGiga, model_times_of(kernel),
                    kernel.kernel, bounds_of(kernel)));
}

void print_sum(const std::vector<KernelCounts>& kernels) {
  size_t launches = 0;
  LaunchCounts sum;
  for (const KernelCounts& kernel : kernels) {
    const LaunchCounts c = kernel.total();
    launches += kernel.launches.size();
    sum.work += c.work;
    sum.dram_read_bytes += c.dram_read_bytes;
    sum.dram_written_bytes += c.dram_written_bytes;
  }
  std::string times;
  for (const emulator::Gpu& gpu : emulator::gpus()) {
    double seconds = 0;
    for (const KernelCounts& kernel : kernels) seconds += model_time(kernel, gpu).seconds;
    times += fmt::format("{:>9.2f}", seconds * 1e6);
  }
  print(fmt::format("{:>8}{:>67.3f}{:>19.4f}{}  sum", launches, static_cast<double>(sum.dram_bytes()) / kMega,
                    sum.work.tensor_flop() / kGiga, times));
}

void print_lines(const KernelCounts& kernel) {
  const int64_t all = kernel.total().work.moved_bytes();
  for (const auto& [line, work] : by_line(kernel))
    print(fmt::format("{:>8}{}{:>9.0f}%{:>28.4f}  {}", "", requests_of(work), 100 * ratio(work.moved_bytes(), all),
                      work.tensor_flop() / kGiga, line));
}

Json to_json(const Work& work) {
  Json json;
  for (const Path path : {Path::global_load, Path::global_store, Path::shared_load, Path::shared_store}) {
    const Requests& r = work[path];
    const bool shared = path == Path::shared_load || path == Path::shared_store;
    if (r.count > 0)
      json[name_of(path)] = {{"requests", r.count},
                             {shared ? "wavefronts" : "sectors", r.parts},
                             {shared ? "least_wavefronts" : "least_sectors", r.least_parts},
                             {"bytes_asked_for", r.bytes}};
  }
  json["moved_bytes"] = work.moved_bytes();
  json["tensor_flop"] = work.tensor_flop();
  return json;
}

Json to_json(const KernelCounts& kernel, bool lines) {
  const LaunchCounts c = kernel.total();
  Json json = {{"kernel", kernel.kernel},
               {"launches", kernel.launches.size()},
               {"blocks", c.blocks},
               {"threads_a_block", c.threads},
               {"shared_bytes_a_block", c.shared_bytes}};
  json.update(to_json(c.work));
  json["compulsory_bytes"] = c.compulsory_bytes;
  json["block_bytes"] = c.block_bytes;
  json["dram_model"] = {{"read_bytes", c.dram_read_bytes}, {"written_bytes", c.dram_written_bytes}};
  for (const emulator::Gpu& gpu : emulator::gpus()) {
    const ModelTime time = model_time(kernel, gpu);
    json["model_time"][gpu.name] = {{"seconds_at_least", time.seconds}, {"bound", time.bound}};
  }
  if (lines)
    for (const auto& [line, work] : by_line(kernel)) json["lines"][line] = to_json(work);
  return json;
}

}  // namespace

void print_profile_legend() {
  print(
      "Counted on the emulator; no time here was measured. 12.00/4.00: 12 sectors of 32 bytes (wavefronts) a warp's\n"
      "request, where 4 would do. moved: sectors of all requests; compulsory: each sector once. DRAM model: behind an\n"
      "L2 of 40 MB, empty at first. Arithmetic outside tensor cores is not counted. docs/emulator.md says more.");
}

void print_profile(const std::string& title, const std::vector<KernelCounts>& kernels, bool lines) {
  print("\n" + title);
  print_header();
  for (const KernelCounts& kernel : kernels) {
    print_kernel(kernel);
    if (lines) print_lines(kernel);
  }
  print_sum(kernels);
}

std::string profile_as_json(const std::string& title, const std::vector<KernelCounts>& kernels, bool lines) {
  Json all = Json::array();
  for (const KernelCounts& kernel : kernels) all.push_back(to_json(kernel, lines));
  return Json{{"title", title}, {"kernels", all}}.dump();
}

}  // namespace stipple
