#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "diffusion/generate.h"
#include "diffusion/training/trainer.h"
#include "kernels/adamw.h"
#include "kernels/arithmetic.h"
#include "tensor/file.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/forward_fixture.h"
#include "tests/small_unet.h"

// Whole networks on CUDA against the CPU: forward and every gradient, training, sampling.

namespace stipple {
namespace {

namespace fs = std::filesystem;

const fs::path kUnets = fs::path(STIPPLE_FIXTURES) / "unets";

NamedTensors forward_on(Device device, const fs::path& folder) {
  std::vector<std::string> notices;
  const auto pipeline = Pipeline::load(folder.string(), notices);
  pipeline->parameters.to(device);
  return forward(*pipeline, inputs_of(SafetensorsFile((folder / "forward.safetensors").string())));
}

double norm(const Tensor& x) { return std::sqrt(kernels::squared_norm(x)); }

// The name whose difference is largest in units of what is allowed, and that number. Each device may be off from the
// truth by what tests/unet.cpp allows, so they may be off from each other by twice that; output and gradient of the
// input are closer.
std::pair<std::string, double> worst(const NamedTensors& cuda, const NamedTensors& cpu,
                                     const nlohmann::json& exceptions) {
  double smallest = 0;
  for (const auto& [name, tensor] : cpu)
    if (is_parameter_gradient(name)) smallest = std::max(smallest, 1e-3 * norm(tensor));
  std::pair<std::string, double> found{"", 0};
  for (size_t i = 0; i < cpu.size(); ++i) {
    const auto& [name, expected] = cpu[i];
    const bool parameter = is_parameter_gradient(name);
    const double scale = std::max(norm(expected), parameter ? smallest : 0);
    const double allowed = parameter ? 2 * exceptions.value(name, 1e-5) : 1e-5;
    const double error = norm(kernels::binary(Binary::subtract, cuda[i].second, expected)) / scale / allowed;
    if (!(error <= found.second)) found = {name, error};
  }
  return found;
}

std::vector<StepReport> train_on(Device device, int64_t steps) {
  const auto pipeline = small_pipeline(device);
  OptimizerOptions o{.learning_rate = 1e-3, .schedule = {"constant", 0, steps}};
  o.use_ema = true;
  Trainer trainer(*pipeline, o);
  std::vector<StepReport> reports;
  for (int64_t i = 0; i < steps; ++i) reports.push_back(trainer.step(1, [i](int64_t) { return small_batch(i); }));
  return reports;
}

Tensor sample_on(Device device, const std::string& sampler, const LossGuidance& guide = {}) {
  const auto pipeline = small_pipeline(device);
  GenerateOptions o;
  o.sampler = sampler;
  o.steps = 3;
  o.seeds = {1, 2};
  o.guide = guide;
  return generate(*pipeline, o);
}

}  // namespace

TEST_CASE("U-Nets give the CPU's output and gradients on CUDA", "[cuda][unet]") {
  for (const auto& entry : fs::directory_iterator(kUnets)) {
    const auto exceptions = nlohmann::json::parse(read_file((entry.path() / "tolerance.json").string()));
    const auto [tensor, error] =
        worst(forward_on(Device::cuda, entry.path()), forward_on(Device::cpu, entry.path()), exceptions);
    INFO(entry.path().filename().string() << ": " << tensor << " is " << error << " of what is allowed off");
    CHECK(error <= 1);
  }
}

TEST_CASE("20 training steps on CUDA follow the CPU's", "[cuda][training]") {
  const auto cpu = train_on(Device::cpu, 20), cuda = train_on(Device::cuda, 20);
  for (size_t i = 0; i < cpu.size(); ++i) {
    INFO("step " << cpu[i].step);
    CHECK(cuda[i].loss == Approx(cpu[i].loss).epsilon(1e-4));
    CHECK(cuda[i].grad_norm == Approx(cpu[i].grad_norm).epsilon(1e-2));
  }
  CHECK(cpu.back().loss < 0.8 * cpu.front().loss);
}

TEST_CASE("samplers draw on CUDA what they draw on the CPU", "[cuda][sampling]") {
  for (const char* sampler : {"ddpm", "ddim", "euler", "heun", "dpm-solver"}) {
    INFO(sampler);
    CHECK(relative_error(sample_on(Device::cuda, sampler), sample_on(Device::cpu, sampler)) <= 1e-4);
  }
}

TEST_CASE("pictures are guided on CUDA as on the CPU, by both routes", "[cuda][guidance]") {
  for (GuideRoute route : {GuideRoute::x0, GuideRoute::unet}) {
    const LossGuidance guide{color_loss({0.9}), 40, route};
    const Tensor guided = sample_on(Device::cpu, "ddim", guide);
    CHECK(relative_error(sample_on(Device::cuda, "ddim", guide), guided) <= 1e-4);
    CHECK(relative_error(sample_on(Device::cpu, "ddim"), guided) > 1e-2);
  }
}

TEST_CASE("the host does not read memory of the GPU by mistake", "[cuda]") {
  const Tensor x = Tensor::full({2, 3}, 1, Dtype::f32, Device::cuda);
  CHECK_THROWS_WITH(x.data<float>(), Contains("f32[2,3] tensor on cuda was read by the host"));
  CHECK_THROWS_WITH(x.mutable_data<float>(), Contains("f32[2,3] tensor on cuda was written by the host"));
}

}  // namespace stipple
