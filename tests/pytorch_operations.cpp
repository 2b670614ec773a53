#include <fstream>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "kernels/timestep_embedding.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/compare.h"

// Operations against what PyTorch computes in f64, forward and backward (tests/reference/ops.py).

namespace stipple {
namespace {

using Json = nlohmann::json;

// One case of the fixture. Pictures and convolution weights turn to NHWC and OHWI on the way in, results back on the
// way out.
class Case {
 public:
  Case(const SafetensorsFile& file, std::string name, const Json& options, Dtype dtype)
      : file_(file), name_(std::move(name)), options_(options), dtype_(dtype) {}

  const std::string operation() const { return options_["op"]; }
  const Json& option(const char* key) const { return options_[key]; }

  Tensor stored(const std::string& key) const { return file_.load(name_ + "." + key); }

  // A leaf whose gradient will be compared.
  Var in(const std::string& key) {
    const Var x = leaf(to_ours(stored(key)).to(dtype_));
    inputs_.emplace_back(key, x);
    return x;
  }
  Tensor constant(const std::string& key) const { return to_ours(stored(key)).to(dtype_); }

  void check_result(const Var& y, double tolerance) const {
    INFO(name_ << ' ' << name_of(dtype_));
    CHECK(relative_error(to_theirs(y.value()), stored("y")) < tolerance);
    std::vector<Var> xs;
    for (const auto& [key, x] : inputs_) xs.push_back(x);
    const std::vector<Tensor> gradients = grad(y, xs, to_ours(stored("dy")).to(dtype_));
    for (size_t i = 0; i < xs.size(); ++i) {
      INFO("d" << inputs_[i].first);
      CHECK(relative_error(to_theirs(gradients[i]), stored("d" + inputs_[i].first)) < tolerance);
    }
  }

 private:
  static Tensor to_ours(const Tensor& t) { return t.rank() == 4 ? to_channels_last(t) : t; }
  static Tensor to_theirs(const Tensor& t) { return t.rank() == 4 ? to_channels_first(t) : t; }

  const SafetensorsFile& file_;
  std::string name_;
  const Json& options_;
  Dtype dtype_;
  std::vector<std::pair<std::string, Var>> inputs_;
};

Var run_conv2d(Case& c) {
  const Json& p = c.option("padding");  // left, right, top, bottom
  return conv2d(c.in("x"), c.in("weight"), {c.in("bias")}, {c.option("stride"), {p[2], p[3], p[0], p[1]}});
}

Var run_group_norm(Case& c) {
  return group_norm(c.in("x"), c.in("gamma"), c.in("beta"), {c.option("groups"), c.option("eps"), c.option("silu")});
}

using Runner = std::function<Var(Case&)>;

const std::map<std::string, Runner>& runners() {
  static const std::map<std::string, Runner> all = {
      {"conv2d", run_conv2d},
      {"group_norm", run_group_norm},
      {"attention", [](Case& c) { return attention(c.in("q"), c.in("k"), c.in("v"), c.option("heads")); }},
      {"silu", [](Case& c) { return silu(c.in("x")); }},
      {"gelu", [](Case& c) { return gelu(c.in("x")); }},
      {"relu", [](Case& c) { return relu(c.in("x")); }},
      {"mish", [](Case& c) { return activation(Activation::mish, c.in("x")); }},
      {"softmax", [](Case& c) { return softmax(c.in("x")); }},
      {"mse_loss", [](Case& c) { return mse(c.in("input"), c.constant("target")); }},
      {"cross_entropy", [](Case& c) { return cross_entropy(c.in("logits"), c.stored("labels")); }},
      {"avg_pool2d", [](Case& c) { return avg_pool2d(c.in("x"), c.option("kernel")); }},
      {"max_pool2d", [](Case& c) { return max_pool2d(c.in("x"), c.option("kernel")); }},
      {"upsample_nearest", [](Case& c) { return upsample_nearest(c.in("x")); }},
  };
  return all;
}

struct Fixture {
  Json cases = Json::parse(std::ifstream(STIPPLE_FIXTURES "/ops.json"));
  SafetensorsFile file{STIPPLE_FIXTURES "/ops.safetensors"};
};

// In f32: rounding; a mean 1000 times the deviation costs three digits more.
double tolerance(const std::string& name, Dtype dtype) {
  if (dtype == Dtype::f64) return 2e-7;  // the fixture is rounded to f32
  return name.find("shifted") != std::string::npos ? 1e-4 : 2e-6;
}

}  // namespace

TEST_CASE("operations and their gradients are PyTorch's", "[pytorch]") {
  const Fixture fixture;
  for (const auto& [name, options] : fixture.cases.items())
    for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
      Case c(fixture.file, name, options, dtype);
      const auto runner = runners().find(c.operation());
      if (runner != runners().end()) c.check_result(runner->second(c), tolerance(name, dtype));
    }
}

TEST_CASE("the embedding of time steps is diffusers'", "[pytorch]") {
  const Fixture fixture;
  for (const auto& [name, options] : fixture.cases.items()) {
    if (options["op"] != "timestep_embedding") continue;
    INFO(name);
    const Tensor y = kernels::timestep_embedding(
        fixture.file.load(name + ".t"),
        {.dim = options["dim"], .flip_sin_to_cos = options["flip_sin_to_cos"], .freq_shift = options["freq_shift"]});
    CHECK(relative_error(y, fixture.file.load(name + ".y")) < 1e-5);
  }
}

}  // namespace stipple
