#include <map>
#include <nlohmann/json.hpp>

#include "bench/gpu.h"
#include "bench/work.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/conv2d.h"
#include "kernels/group_norm.h"
#include "kernels/matmul.h"
#include "tensor/random.h"

// The kernels, at the shapes a request names, on normal numbers.

namespace stipple::bench {
namespace {

using Request = nlohmann::json;

int64_t size(const Request& r, const char* field) { return r.at(field).get<int64_t>(); }

// Makes a request's tensors: normal numbers in its dtype on its device. tf32 is f32 in memory.
class Inputs {
 public:
  explicit Inputs(const Request& r)
      : device_(is_for_gpu(r) ? Device::cuda : Device::cpu),
        dtype_(r.value("dtype", "f32") == "bf16" ? Dtype::bf16 : Dtype::f32) {}
  Tensor operator()(const Shape& shape) const { return parameter(shape).to(dtype_); }
  Tensor parameter(const Shape& shape) const { return make(shape).to(device_); }  // f32 always

 private:
  static Tensor make(const Shape& shape) {
    static PhiloxGenerator generator(0);
    return normal(generator, shape);
  }
  Device device_;
  Dtype dtype_;
};

Tensor f32_like(const Tensor& x) { return Tensor(x.shape(), Dtype::f32, x.device()); }

template <typename... Tensors>
double bytes(const Tensors&... tensors) {
  return static_cast<double>((tensors.nbytes() + ...));
}

// The entry of `choices` that the request's `pass` names.
template <typename T>
T by_pass(const Request& r, const std::map<std::string, T>& choices) {
  const std::string pass = r.at("pass");
  const auto found = choices.find(pass);
  check(found != choices.end(), "{}: there is no pass '{}'", r.at("op").get<std::string>(), pass);
  return found->second;
}

Work conv2d(const Request& r) {
  const Inputs random(r);
  const int64_t kernel = size(r, "kernel");
  const Conv2dOptions options{size(r, "stride"), Padding::same(kernel / 2)};
  const Tensor x = random({size(r, "n"), size(r, "h"), size(r, "w"), size(r, "c")});
  const Tensor weight = random({size(r, "k"), kernel, kernel, size(r, "c")});
  const Tensor dy = random(conv2d_shape(x.shape(), weight.shape(), options)), dweight = f32_like(weight);
  const auto run = by_pass<std::function<void()>>(
      r, {{"forward", [=] { kernels::conv2d(x, weight, {}, options); }},
          {"input_gradient", [=] { kernels::conv2d_input_gradient(dy, weight, x.shape(), options); }},
          {"weight_gradient", [=] { kernels::conv2d_weight_gradient({{dweight}}, dy, x, options); }}});
  const double flop = 2.0 * static_cast<double>(dy.numel() * kernel * kernel * x.dim(3));
  return {run, flop, bytes(x, weight, dy)};
}

Work group_norm_silu(const Request& r) {
  const Inputs random(r);
  const GroupNormOptions options{.groups = size(r, "groups"), .silu = true};
  const Tensor x = random({size(r, "n"), size(r, "h"), size(r, "w"), size(r, "c")}), dy = random(x.shape());
  const Tensor gamma = random.parameter({x.dim(3)}), beta = random.parameter({x.dim(3)});
  const GroupNormOut out = kernels::group_norm(x, gamma, beta, options);
  const GroupNormGrads to{empty_like(x), {empty_like(gamma)}, {empty_like(beta)}};
  const auto run = by_pass<std::function<void()>>(
      r, {{"forward", [=] { kernels::group_norm(x, gamma, beta, options); }},
          {"backward", [=] { kernels::group_norm_backward(to, dy, x, gamma, beta, out.mean, out.rstd, options); }}});
  return {run, 0, by_pass<double>(r, {{"forward", 2}, {"backward", 3}}) * bytes(x)};
}

Work attention(const Request& r) {
  const Inputs random(r);
  const int64_t heads = size(r, "heads"), tokens = size(r, "tokens"), width = heads * size(r, "width");
  const Shape shape{size(r, "n"), tokens, width};
  const Tensor q = random(shape), k = random(shape), v = random(shape), dy = random(shape);
  const AttentionOut out = kernels::attention(q, k, v, heads);
  const AttentionGrads to{empty_like(q), empty_like(k), empty_like(v)};
  const auto run = by_pass<std::function<void()>>(
      r, {{"forward", [=] { kernels::attention(q, k, v, heads); }},
          {"backward", [=] { kernels::attention_backward(to, dy, q, k, v, out, heads); }}});
  const double flop = 4.0 * static_cast<double>(q.numel() * tokens);
  return {run, by_pass<double>(r, {{"forward", 1}, {"backward", 2.5}}) * flop,
          by_pass<double>(r, {{"forward", 4}, {"backward", 8}}) * bytes(q)};
}

Work matmul(const Request& r) {
  const Inputs random(r);
  const int64_t m = size(r, "m"), n = size(r, "n"), k = size(r, "k");
  const Tensor a = random({m, k}), b = random({k, n}), y({m, n}, a.dtype(), a.device());
  const auto run = [=] { kernels::matmul_into({y}, a, b, Transpose::no, Transpose::no); };
  return {run, 2.0 * static_cast<double>(m * n * k), bytes(a, b, y)};
}

Work adamw(const Request& r) {
  const Shape shape{size(r, "count")};
  const Inputs random(r);
  const Tensor parameters = random.parameter(shape), gradients = random.parameter(shape);
  const Tensor m = Tensor::zeros(shape).to(parameters.device()), v = Tensor::zeros(shape).to(parameters.device());
  auto run = [=, step = int64_t{0}]() mutable { kernels::adamw({parameters, m, v, gradients}, {.step = ++step}); };
  return {run, 0, 7 * bytes(parameters)};
}

}  // namespace

Work prepare_operation(const Request& request) {
  static const std::map<std::string, Work (*)(const Request&)> operations = {{"conv2d", conv2d},
                                                                             {"group_norm_silu", group_norm_silu},
                                                                             {"attention", attention},
                                                                             {"matmul", matmul},
                                                                             {"adamw", adamw}};
  const std::string operation = request.at("op");
  const auto found = operations.find(operation);
  check(found != operations.end(), "op {}: is not known here", operation);
  return found->second(request);
}

}  // namespace stipple::bench
