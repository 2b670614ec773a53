#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bench/gpu.h"
#include "bench/machine.h"
#include "bench/work.h"
#include "kernels/cpu/parallel.h"
#include "tensor/allocator.h"
#include "tensor/error.h"
#include "tensor/file.h"

// Measures our kernels and networks: for bench/compare.py by the protocol of PROTOCOL.md, or on their own as Markdown
// tables, each kernel beside what the machine could do at most.

namespace stipple::bench {
namespace {

using nlohmann::json;

constexpr int64_t kRepeats = 5;

struct BenchOptions {
  bool serve = false;
  int threads = 0;
  std::string workloads = "bench/workloads.json", only;
};

// Answers requests; the work of the last one stays prepared.
class Server {
 public:
  json answer(const std::string& line) {
    try {
      json request = json::parse(line);
      const int64_t repeats = request.value("repeats", kRepeats);
      const bool cold = request.value("cold", false);
      request.erase("repeats");
      request.erase("cold");
      check(repeats >= 1, "repeats: {}", repeats);
      return measured(request, repeats, cold);
    } catch (const std::exception& error) {  // the process outlives a request it cannot serve
      return {{"error", error.what()}};
    }
  }

 private:
  json measured(const json& request, int64_t repeats, bool cold) {
    if (request != request_) load(request);
    json answer = is_for_gpu(request) ? measure_on_gpu(work_, repeats, cold) : measured_on_cpu(repeats);
    answer.update({{"flop", work_.flop}, {"bytes", work_.bytes}});
    return answer;
  }

  json measured_on_cpu(int64_t repeats) {
    json answer = {{"seconds", median_seconds(work_.run, repeats)}};
    if (work_.network) answer["peak_bytes"] = peak_resident_bytes();
    return answer;
  }

  void load(const json& request) {
    request_ = nullptr;
    work_ = {};
    cpu_allocator().release_cached();
    if (is_for_gpu(request)) set_up_gpu(request);
    work_ = prepare(request);
    work_.run();
    request_ = request;
  }

  json request_;
  Work work_;
};

void serve() {
  Server server;
  for (std::string line; std::getline(std::cin, line);) std::cout << server.answer(line).dump() << std::endl;
}

// "n 128 h 28 w 28": what the request says besides its names.
std::string shape_of(const json& request) {
  std::string text;
  for (const auto& [name, value] : request.items())
    if (name != "op" && name != "pass") text += fmt::format("{}{} {}", text.empty() ? "" : " ", name, value.dump());
  return text;
}

struct Measured {
  double seconds, flop, bytes;
  size_t peak_tensors;
};

Measured measure(const json& request) {
  cpu_allocator().release_cached();
  const Work work = prepare(request);
  work.run();
  cpu_allocator().reset_peak();
  const double seconds = median_seconds(work.run, kRepeats);
  return {seconds, work.flop, work.bytes, cpu_allocator().stats().peak};
}

// Convolutions, attention and products are bound by arithmetic, the others by memory. Convolution counts the direct
// algorithm's FLOP, so Winograd's may go past the peak.
void print_kernels(const std::vector<json>& requests) {
  const double flops = peak_flops(), bandwidth = stream_bandwidth();
  std::printf("Peak: %.0f GFLOP/s of multiply-adds, %.1f GB/s of triad.\n\n", 1e-9 * flops, 1e-9 * bandwidth);
  std::printf("| operation | pass | shape | ms | rate | of the peak |\n|---|---|---|---|---|---|\n");
  for (const json& request : requests) {
    const Measured m = measure(request);
    const bool computes = m.flop > 0;
    const double rate = (computes ? m.flop : m.bytes) / m.seconds;
    std::printf("| %s | %s | %s | %.2f | %.1f %s | %.0f %% |\n", request["op"].get<std::string>().c_str(),
                request.value("pass", "").c_str(), shape_of(request).c_str(), 1e3 * m.seconds, 1e-9 * rate,
                computes ? "GFLOP/s" : "GB/s", 100 * rate / (computes ? flops : bandwidth));
    std::fflush(stdout);
  }
}

void print_networks(const std::vector<json>& requests) {
  std::printf("\n| operation | network | ms | tensors, peak MiB | process so far, peak MiB |\n|---|---|---|---|---|\n");
  for (const json& request : requests) {
    const Measured m = measure(request);
    std::printf("| %s | %s | %.1f | %.0f | %.0f |\n", request["op"].get<std::string>().c_str(),
                shape_of(request).c_str(), 1e3 * m.seconds, 0x1p-20 * static_cast<double>(m.peak_tensors),
                0x1p-20 * static_cast<double>(peak_resident_bytes()));
    std::fflush(stdout);
  }
}

void print_tables(const BenchOptions& o) {
  const json workloads = json::parse(read_file(o.workloads));
  const auto chosen = [&](const char* set) {
    std::vector<json> requests;
    for (const json& request : workloads.at(set))
      if (request.dump().find(o.only) != std::string::npos) requests.push_back(request);
    return requests;
  };
  std::printf("%s\n", describe_processor().c_str());
  print_kernels(chosen("kernels"));
  print_networks(chosen("networks"));
}

}  // namespace
}  // namespace stipple::bench

int main(int argc, char** argv) {
  using namespace stipple;
  cpu::sleep_when_idle(argv);
  bench::BenchOptions o;
  CLI::App app("Measures kernels and training steps", "stipple_bench");
  app.add_flag("--serve", o.serve, "answer requests on standard input (bench/PROTOCOL.md)");
  app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024));
  app.add_option("--workloads", o.workloads, "JSON: the requests of the tables")->capture_default_str();
  app.add_option("--only", o.only, "leave out requests that do not contain this text");
  CLI11_PARSE(app, argc, argv);
  try {
    cpu::set_threads(o.threads ? o.threads : cpu::available_threads());
    o.serve ? bench::serve() : bench::print_tables(o);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stipple_bench: %s\n", error.what());
    return 1;
  }
}
