#include <map>

#include "autograd/random_stream.h"
#include "kernels/arithmetic.h"
#include "tests/cuda_twins.h"
#include "tests/recorded_operations.h"

// What U-Nets compute in bf16, over maps of every odd shape, against the CPU in f32 on the same rounded numbers.

namespace stipple {
namespace {

struct Map {
  int64_t n, h, w, c;

  Shape shape() const { return {n, h, w, c}; }
  Shape with_channels(int64_t channels) const { return {n, h, w, channels}; }
  int64_t pixels() const { return h * w; }
  // The emulator takes minutes for large products.
  int64_t affordable(int64_t wanted) const { return n * pixels() > 100 ? std::min<int64_t>(wanted, 3) : wanted; }
};

std::vector<Map> maps() {
  std::vector<Map> all;
  for (const int64_t n : {1, 3})
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {28, 28}})
      for (const int64_t c : {1, 3, 17, 224}) all.push_back({n, h, w, c});
  return all;
}

OpCase of_one(const Map& m, Var (*operation)(const Var&)) {
  return {.inputs = {normal(m.shape())}, .call = [=](auto& in) { return operation(in[0]); }};
}

// As in a ResNet block: with a time embedding, a residual and a division.
OpCase conv2d_case(const Map& m) {
  const int64_t filters = m.affordable(m.c);
  return {.inputs = {normal(m.shape()), normal({filters, 3, 3, m.c}), parameter({filters}), normal({m.n, filters}),
                     normal(m.with_channels(filters))},
          .call = [](auto& in) {
            return conv2d(in[0], in[1], {in[2], in[3], in[4], 1.4}, {1, Padding::same(1)});
          }};
}

OpCase linear_case(const Map& m) {
  const int64_t width = m.affordable(m.c);
  return {.inputs = {normal(m.shape()), normal({width, m.c}), parameter({width})},
          .call = [](auto& in) { return linear(in[0], in[1], in[2]); }};
}

OpCase group_norm_case(const Map& m) {
  const GroupNormOptions o{.groups = m.c == 224 ? 32 : 1, .silu = true};
  return {.inputs = {normal(m.shape(), 0.5, 2), parameter({m.c}, 1), parameter({m.c})},
          .call = [=](auto& in) { return group_norm(in[0], in[1], in[2], o); }};
}

OpCase attention_case(const Map& m) {
  const OpInput tokens = normal({m.n, m.pixels(), m.affordable(m.c)});
  const int64_t heads = tokens.shape[2] == 224 ? 7 : 1;
  return {.inputs = {tokens, tokens, tokens}, .call = [=](auto& in) { return attention(in[0], in[1], in[2], heads); }};
}

// The sum with a time embedding; what is stretched gets a sum as its gradient.
OpCase of_stretched(const Map& m, Var (*operation)(const Var&, const Var&)) {
  return {.inputs = {normal(m.shape()), normal({m.n, 1, 1, m.c})},
          .call = [=](auto& in) { return operation(in[0], in[1]); }};
}

OpCase dropout_case(const Map& m) {
  return {.inputs = {normal(m.shape())}, .call = [](auto& in) {
            const RandomStream stream(RandomPosition{.seed = 5});
            return dropout(in[0], 0.3);
          }};
}

OpCase concat_case(const Map& m) {
  return {.inputs = {normal(m.shape()), normal(m.with_channels(3))},
          .call = [](auto& in) { return concat_channels(in[0], in[1]); }};
}

OpCase split_case(const Map& m) {
  return {.inputs = {normal(m.with_channels(m.c + 3))}, .call = [=](auto& in) {
            const auto [left, right] = split_channels(in[0], m.c);
            return concat_channels(right, left);
          }};
}

using Case = std::function<OpCase(const Map&)>;

Case one(Var (*operation)(const Var&)) {
  return [=](const Map& m) { return of_one(m, operation); };
}

// By the names that they are recorded under.
const std::map<std::string, Case>& cases() {
  static const std::map<std::string, Case> all = {
      {"conv2d", conv2d_case},
      {"linear", linear_case},
      {"group_norm", group_norm_case},
      {"attention", attention_case},
      {"concat_channels", concat_case},
      {"split_channels", split_case},
      {"dropout", dropout_case},
      {"add", [](const Map& m) { return of_stretched(m, operator+); }},
      {"multiply", [](const Map& m) { return of_stretched(m, operator*); }},
      {"affine", one([](const Var& x) { return affine(x, 0.7, 1); })},
      {"reshape", one([](const Var& x) { return reshape(x, {x.value().numel()}); })},
      {"silu", one(silu)},
      {"gelu", one(gelu)},
      {"relu", one(relu)},
      {"mish", one(mish)},
      {"cast", one([](const Var& x) { return cast(cast(x, Dtype::f32), x.value().dtype()); })},
      {"upsample_nearest", one(upsample_nearest)},
      {"avg_pool2d", one([](const Var& x) { return avg_pool2d(x, std::min<int64_t>(2, x.dim(1))); })},
      {"fir_downsample", one([](const Var& x) { return fir_downsample(upsample_nearest(x)); })},  // even sides
      {"fir_upsample", one(fir_upsample)},
  };
  return all;
}

// What is f32 whatever the layers compute in, and what is not arithmetic.
const std::set<std::string> kInF32 = {"mse", "embedding", "divide"}, kNoArithmetic = {"checkpoint"};

// A second backward pass adds to the f32 gradients of the first; inputs 1 and 2 are the parameters.
void check_adds(const OpCase& c) {
  std::vector<Var> in;
  for (const Tensor& x : make_inputs(c, Dtype::bf16)) in.push_back(leaf(x.to(Device::cuda)));
  const Var y = c.call(in), again = c.call(in);
  backward(y);
  std::vector<Tensor> once;
  for (const Var& x : in) once.push_back(x.gradient().to(Device::cpu).clone());
  backward(again);
  for (const size_t i : {1, 2}) {
    CHECK(in[i].gradient().dtype() == Dtype::f32);
    CHECK(relative_error(in[i].gradient().to(Device::cpu), kernels::affine(once[i], 2, 0)) <= 1e-6);
  }
}

}  // namespace

TEST_CASE("what U-Nets compute in bf16 is right over odd shapes", "[cuda][ops][precision]") {
  for (const auto& [name, make] : cases())
    for (const Map& m : maps()) {
      if (name == "group_norm" && m.pixels() * m.c == 1) continue;  // the gradient of a group of one is rounding alone
      INFO(name << ' ' << to_string(m.shape()));
      check_twins(make(m), Dtype::bf16, 1e-2);
    }
}

TEST_CASE("gradients of f32 parameters beside bf16 activations add up in f32", "[cuda][ops][precision]") {
  for (const Case& make : {Case(conv2d_case), Case(linear_case), Case(group_norm_case)})
    for (const Map& m : {Map{1, 1, 1, 1}, {3, 7, 5, 17}, {1, 7, 5, 224}}) {
      INFO(to_string(m.shape()));
      check_adds(make(m));
    }
}

TEST_CASE("every operation that U-Nets record in bf16 is checked in bf16", "[cuda][unet][ops][precision]") {
  for (const auto& [operation, network] : operations_of_unets(Device::cuda, Dtype::bf16)) {
    INFO(operation << ", recorded by " << network);
    CHECK(cases().count(operation) + kInF32.count(operation) + kNoArithmetic.count(operation) == 1);
  }
}

}  // namespace stipple
