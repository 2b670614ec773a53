#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/forward_fixture.h"
#include "tests/rung_guard.h"

// Small U-Nets that diffusers made and saved, against what PyTorch computes with them in f64. The rule is stated in
// tests/reference/tolerance.py.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

const fs::path kUnets = fs::path(STIPPLE_FIXTURES) / "unets";

std::vector<std::string> fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kUnets)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

double norm(const Tensor& x) {
  double sum = 0;
  for (float v : x.to_vector<float>()) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    sum += std::pow(static_cast<double>(a.data<float>()[i]) - b.data<float>()[i], 2);
  return std::sqrt(sum);
}

// The name whose error is largest in units of what is allowed, and that number.
std::pair<std::string, double> worst(const NamedTensors& ours, const SafetensorsFile& exact,
                                     const nlohmann::json& exceptions) {
  double smallest = 0;
  for (const auto& [name, tensor] : ours)
    if (is_parameter_gradient(name)) smallest = std::max(smallest, 1e-3 * norm(exact.load(name)));
  std::pair<std::string, double> found{"", 0};
  for (const auto& [name, tensor] : ours) {
    const Tensor reference = exact.load(name);
    const double scale = is_parameter_gradient(name) ? std::max(norm(reference), smallest) : norm(reference);
    const double error = distance(tensor, reference) / scale / exceptions.value(name, 1e-5);
    if (!(error <= found.second)) found = {name, error};
  }
  return found;
}

void check_all(bool checkpointing) {
  for (const std::string& name : fixtures()) {
    const fs::path folder = kUnets / name;
    std::vector<std::string> notices;
    const auto pipeline = Pipeline::load(folder.string(), notices);
    const SafetensorsFile exact((folder / "forward.safetensors").string());
    const auto exceptions = nlohmann::json::parse(read_file((folder / "tolerance.json").string()));
    pipeline->denoiser.unet.set_gradient_checkpointing(checkpointing);
    const auto [tensor, error] = worst(forward(*pipeline, inputs_of(exact)), exact, exceptions);
    INFO(name << ": " << tensor << " is " << error << " of what is allowed off");
    CHECK(error <= 1);
  }
}

}  // namespace

TEST_CASE("U-Nets of diffusers give PyTorch's output and gradients", "[unet]") {
  REQUIRE(fixtures().size() >= 12);
  check_all(false);
  check_all(true);
}

TEST_CASE("U-Nets of diffusers give PyTorch's output and gradients with oracles alone", "[unet]") {
  const RungGuard conv2d("CONV2D", "oracle"), matmul("MATMUL", "oracle"), norm("GROUP_NORM", "oracle"),
      attention("ATTENTION", "oracle"), activation("ACTIVATION", "oracle");
  check_all(false);
}
