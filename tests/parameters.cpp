#include "nn/layers.h"
#include "nn/optimizer.h"
#include "tensor/layout.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace stipple {
namespace {

using Floats = std::vector<float>;

// A network whose parameters have awkward sizes: 3*2*2*5 = 60 and 3 for the convolution, 21 and 7 for the linear layer.
struct Small {
  Parameters parameters;
  Conv2d conv;
  Linear linear;
  GroupNorm norm;

  Small()
      : conv(Scope(parameters) / "blocks" / 0 / "conv", 5, 3, 2, {1, {}}),
        linear(Scope(parameters) / "linear", 3, 7),
        norm(Scope(parameters) / "norm", 1, 3) {
    parameters.allocate();
    PhiloxGenerator generator(1);
    parameters.initialize(generator);
  }

  Var operator()(const Var& x) const { return linear(norm(conv(x))); }
};

Tensor image() {
  PhiloxGenerator generator(2);
  return normal(generator, {2, 4, 4, 5});
}

// Every element that no parameter owns.
double padding_of(const Parameters& parameters, const Tensor& arena) {
  double all = 0, owned = 0;
  for (const float x : arena.to_vector<float>()) all += std::abs(x);
  for (const auto& [name, slice] : parameters.to_file(arena))
    for (const float x : slice.to_vector<float>()) owned += std::abs(x);
  return std::abs(all - owned) / (owned + 1);
}

struct File {
  std::map<std::string, Tensor> tensors;

  explicit File(const Parameters& parameters) {
    for (const auto& [name, tensor] : parameters.to_file(parameters.values())) tensors[name] = tensor.clone();
  }
  void load_into(const Parameters& parameters) const {
    std::map<std::string, Shape> shapes;
    for (const auto& [name, tensor] : tensors) shapes[name] = tensor.shape();
    const auto read = [this](const Tensor& to, const std::string& name, bool channels_last) {
      const Tensor& t = tensors.at(name);
      to.copy_from((channels_last ? to_channels_last(t) : t).to(to.dtype()));
    };
    parameters.from_file(parameters.values(), shapes, read, "weights.safetensors");
  }
};

}  // namespace

TEST_CASE("parameters are named by their path, in the order of declaration", "[parameters]") {
  const Small net;
  std::vector<std::string> names;
  for (const Parameter& p : net.parameters.all()) names.push_back(p.name());
  CHECK(names == std::vector<std::string>{"blocks.0.conv.weight", "blocks.0.conv.bias", "linear.weight", "linear.bias",
                                          "norm.weight", "norm.bias"});
  CHECK(net.parameters.count() == 60 + 3 + 21 + 7 + 3 + 3);
  CHECK(net.parameters.find("linear.bias").shape() == Shape{7});
  CHECK_FALSE(net.parameters.find("linear.scale").defined());
}

TEST_CASE("a name that is declared twice is an error that says it", "[parameters]") {
  Parameters parameters;
  const Linear first(Scope(parameters) / "head", 2, 3);
  CHECK_THROWS_WITH(Linear(Scope(parameters) / "head", 2, 3), Contains("head.weight"));
}

TEST_CASE("a parameter that is declared after allocation is an error", "[parameters]") {
  Small net;
  CHECK_THROWS_WITH(Linear(Scope(net.parameters) / "late", 2, 3), Contains("late.weight"));
}

TEST_CASE("parameters are slices of one arena, aligned, and its padding is zero", "[parameters]") {
  const Small net;
  for (const Parameter& p : net.parameters.all()) {
    CHECK(p.value().shares_storage_with(net.parameters.values()));
    CHECK(reinterpret_cast<uintptr_t>(p.value().bytes()) % 64 == 0);
  }
  CHECK(padding_of(net.parameters, net.parameters.values()) < 1e-6);
}

TEST_CASE("gradients arrive in the gradient arena, and its padding stays zero", "[parameters]") {
  Small net;
  net.parameters.require_gradients(true);
  backward(sum(net(image())));
  net.parameters.complete_gradients();
  for (const Parameter& p : net.parameters.all()) {
    const Tensor& gradient = Var(p).gradient();
    CHECK(gradient.shares_storage_with(net.parameters.gradients()));
  }
  CHECK(padding_of(net.parameters, net.parameters.gradients()) < 1e-6);
  CHECK(Var(net.linear.bias).gradient().to_vector<float>() == Floats(7, 2 * 3 * 3));
}

TEST_CASE("clear_gradients lets the next backward pass overwrite; without it gradients add up", "[parameters]") {
  Small net;
  net.parameters.require_gradients(true);
  const auto bias_gradient = [&] { return Var(net.linear.bias).gradient().to_vector<float>()[0]; };
  backward(sum(net(image())));
  backward(sum(net(image())));
  CHECK(bias_gradient() == 36);
  net.parameters.clear_gradients();
  backward(sum(net(image())));
  CHECK(bias_gradient() == 18);
}

TEST_CASE("complete_gradients zeros what the backward pass did not reach", "[parameters]") {
  Small net;
  net.parameters.require_gradients(true);
  backward(sum(net(image())));
  net.parameters.clear_gradients();
  backward(sum(net.conv(image())));
  net.parameters.complete_gradients();
  CHECK(Var(net.linear.bias).gradient().to_vector<float>() == Floats(7, 0));
  CHECK(Var(net.conv.bias).gradient().to_vector<float>() == Floats(3, 18));
}

TEST_CASE("a network that does not require gradients records nothing and says so when asked for some", "[parameters]") {
  Small net;
  CHECK_FALSE(net(image()).requires_grad());
  CHECK_THROWS_WITH(net.parameters.clear_gradients(), Contains("require_gradients"));
  CHECK_THROWS_WITH(net.parameters.complete_gradients(), Contains("require_gradients"));
  net.parameters.require_gradients(true);
  CHECK(net(image()).requires_grad());
  net.parameters.require_gradients(false);
  CHECK_FALSE(net(image()).requires_grad());
}

TEST_CASE("files hold convolution weights as OIHW, and come back to the bit", "[parameters]") {
  Small net;
  const File file(net.parameters);
  CHECK(file.tensors.at("blocks.0.conv.weight").shape() == Shape{3, 5, 2, 2});
  const float* ours = net.conv.weight.value().data<float>();                    // [3, 2, 2, 5]
  const float* theirs = file.tensors.at("blocks.0.conv.weight").data<float>();  // [3, 5, 2, 2]
  CHECK(ours[((1 * 2 + 0) * 2 + 1) * 5 + 4] == theirs[((1 * 5 + 4) * 2 + 0) * 2 + 1]);
  const Tensor before = net.parameters.values().clone();
  net.parameters.values().fill(0);
  file.load_into(net.parameters);
  CHECK(same_bits(net.parameters.values(), before));
}

TEST_CASE("what is missing, unknown or of another shape in a file is reported together, by name", "[parameters]") {
  Small net;
  File file(net.parameters);
  file.tensors.erase("norm.bias");
  file.tensors["linear.bias"] = Tensor::zeros({8});
  file.tensors["blocks.0.conv.weight"] = Tensor::zeros({3, 2, 2, 5});
  file.tensors["extra.weight"] = Tensor::zeros({1});
  const Tensor before = net.parameters.values().clone();
  CHECK_THROWS_WITH(file.load_into(net.parameters), Contains("weights.safetensors") && Contains("missing: norm.bias") &&
                                                        Contains("unknown: extra.weight") &&
                                                        Contains("linear.bias [8] (expected [7])") &&
                                                        Contains("[3,2,2,5] (expected [3,5,2,2])"));
  CHECK(same_bits(net.parameters.values(), before));
}

TEST_CASE("a file in another precision is converted", "[parameters]") {
  Small net;
  File file(net.parameters);
  for (auto& [name, tensor] : file.tensors) tensor = tensor.to(Dtype::f64);
  const Tensor before = net.parameters.values().clone();
  net.parameters.values().fill(0);
  file.load_into(net.parameters);
  CHECK(same_bits(net.parameters.values(), before));
}

TEST_CASE("weights under the names of old files are found", "[parameters]") {
  Small net;
  net.parameters.renamed("old_head", "linear");
  File file(net.parameters);
  const Tensor before = net.parameters.values().clone();
  for (const char* name : {"weight", "bias"}) {
    const auto moved = file.tensors.extract(std::string("linear.") + name);
    file.tensors[std::string("old_head.") + name] = moved.mapped();
  }
  net.parameters.values().fill(0);
  file.load_into(net.parameters);
  CHECK(same_bits(net.parameters.values(), before));
  file.tensors["linear.bias"] = Tensor::zeros({7});
  CHECK_THROWS_WITH(file.load_into(net.parameters), Contains("holds linear.bias twice"));
}

TEST_CASE("what is frozen is in files, has no gradient, and no optimizer moves it", "[parameters][optimizer]") {
  Parameters parameters;
  const Parameter frozen = Scope(parameters).frozen("frequencies", {5}, Init::normal(1));
  const Linear linear(Scope(parameters) / "linear", 5, 3);
  parameters.allocate();
  PhiloxGenerator generator(1);
  parameters.initialize(generator);
  parameters.require_gradients(true);
  CHECK_FALSE(Var(frozen).requires_grad());
  CHECK(parameters.to_file(parameters.values()).front().first == "frequencies");

  const Tensor before = frozen.value().clone(), weight = linear.weight.value().clone();
  Adam adam(parameters, {.weight_decay = 0.5});
  const Tensor ema = parameters.values().clone();
  backward(mean(linear(reshape(frozen, {1, 5}))));
  adam.step(0.1, 0, ema, 0.5);
  CHECK(same_bits(frozen.value(), before));
  CHECK_FALSE(same_bits(linear.weight.value(), weight));
  for (const auto& [name, tensor] : parameters.to_file(ema))
    if (name == "frequencies") CHECK(same_bits(tensor, before));
}

TEST_CASE("set_values swaps every parameter for another arena's", "[parameters]") {
  Small net;
  const Tensor raw = net.parameters.values(), ema = Tensor::full(raw.shape(), 0.5);
  net.parameters.set_values(ema);
  CHECK(net.linear.bias.value().to_vector<float>() == Floats(7, 0.5));
  net.parameters.set_values(raw);
  CHECK(net.linear.bias.value().shares_storage_with(raw));
  CHECK_THROWS_WITH(net.parameters.set_values(Tensor::zeros({3})), Contains("arena"));
}

}  // namespace stipple
