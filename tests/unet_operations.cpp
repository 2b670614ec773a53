#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "autograd/random_stream.h"
#include "diffusion/unet.h"
#include "tensor/file.h"
#include "tensor/torch_random.h"
#include "tests/op_cases.h"
#include "tests/recorded_operations.h"

namespace stipple {
namespace {

UNet2DConfig parse(const std::string& json, const std::string& name) {
  std::vector<std::string> notices;
  return UNet2DConfig::from_json(json, name, notices);
}

std::map<std::string, UNet2DConfig> fixture_configs() {
  std::map<std::string, UNet2DConfig> configs;
  for (const auto& folder : std::filesystem::directory_iterator(STIPPLE_FIXTURES "/unets")) {
    const std::string name = folder.path().filename(), file = folder.path() / "config.json";
    configs[name] = parse(read_file(file), file);
  }
  return configs;
}

Tensor labels_for(const UNet2DConfig& c, int64_t batch) {
  switch (c.class_embedding) {
    case ClassEmbedding::none:
      return {};
    case ClassEmbedding::identity:
      return Tensor::zeros({batch, c.time_embedding_width()});
    case ClassEmbedding::table:
    case ClassEmbedding::timestep:
      return Tensor::full({batch}, 1, Dtype::i64);
  }
  return {};
}

// One training step's forward pass on the smallest picture that the network takes.
void run_once(const UNet2DConfig& config, bool checkpointing, Device device, Dtype compute) {
  Parameters parameters;
  UNet2DModel net(Scope(parameters), config);
  parameters.allocate(Dtype::f32, device);
  parameters.values().fill(0);
  parameters.compute_in(compute);
  parameters.require_gradients(true);
  net.set_gradient_checkpointing(checkpointing);
  const RandomStream stream(RandomPosition{});
  const int64_t size = config.size_divisor();
  const Var prediction = net(Tensor::zeros({1, size, size, config.in_channels}, Dtype::f32, device),
                             Tensor::full({1}, 3, Dtype::i64, device), labels_for(config, 1).to(device));
  mse(prediction, Tensor::zeros(prediction.shape(), Dtype::f32, device));
}

}  // namespace

std::map<std::string, std::string> operations_of_unets(Device device, Dtype compute) {
  std::map<std::string, std::string> recorded;
  for (const auto& [name, config] : fixture_configs())
    for (const bool checkpointing : {false, true}) {
      const OperationWatch watch([&, network = name](const std::string& operation) { recorded[operation] = network; });
      run_once(config, checkpointing, device, compute);
    }
  return recorded;
}

TEST_CASE("every operation that a U-Net records has cases in tests/ops", "[unet][ops]") {
  const std::set<std::string> checked = checked_operations();
  const auto recorded = operations_of_unets(Device::cpu, Dtype::f32);
  for (const auto& [operation, network] : recorded) {
    INFO(operation << ", recorded by " << network);
    CHECK(checked.count(operation) == 1);
  }
  for (const char* expected : {"conv2d", "group_norm", "linear", "attention", "embedding", "checkpoint", "dropout",
                               "fir_downsample", "fir_upsample"})
    CHECK(recorded.count(expected) == 1);
}

TEST_CASE("after torch.manual_seed(0) a U-Net starts with PyTorch's weights", "[unet][layers]") {
  const auto fixture = nlohmann::json::parse(std::ifstream(STIPPLE_FIXTURES "/initialisation.json"));
  for (const auto& [name, expected] : fixture.items()) {
    Parameters parameters;
    const UNet2DModel net(Scope(parameters), parse(expected["config"].dump(), name));
    parameters.allocate();
    TorchGenerator generator(0);
    parameters.initialize(generator);
    CHECK(parameters.all().size() == expected["parameters"].size());
    for (const auto& [path, values] : parameters.to_file(parameters.values())) {
      INFO(name << ' ' << path);
      double sum = 0, squares = 0;
      for (const float x : values.to_vector<float>()) sum += x, squares += double{x} * x;
      const auto& numbers = expected["parameters"].at(path);
      CHECK(sum == Approx(numbers[0].get<double>()).epsilon(1e-5).margin(1e-5));
      CHECK(squares == Approx(numbers[1].get<double>()).epsilon(1e-5));
      CHECK(values.to_vector<float>()[0] == Approx(numbers[2].get<double>()).epsilon(1e-7));
    }
  }
}

}  // namespace stipple
