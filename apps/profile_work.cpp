#include "apps/profile_work.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "autograd/ops.h"
#include "diffusion/unet.h"
#include "nn/optimizer.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/random.h"

namespace stipple {
namespace {

// Makes inputs: normal numbers on the GPU, which gradients are wanted for.
class Inputs {
 public:
  explicit Inputs(Dtype dtype) : dtype_(dtype) {}
  Var operator()(const Shape& shape) const { return leaf(make(shape).to(dtype_).to(Device::cuda)); }
  Var parameter(const Shape& shape) const { return leaf(make(shape).to(Device::cuda)); }  // f32 always
  Dtype dtype() const { return dtype_; }

 private:
  static Tensor make(const Shape& shape) {
    static PhiloxGenerator random(0);
    return normal(random, shape);
  }
  Dtype dtype_;
};

using Call = std::function<Var()>;

Call conv2d_call(Sizes s, const Inputs& normal) {
  const Conv2dOptions options{s["stride"], Padding::same(s["kernel"] / 2), s["upsample"] != 0};
  const Var x = normal({s["n"], s["h"], s["w"], s["c"]}), weight = normal({s["k"], s["kernel"], s["kernel"], s["c"]}),
            bias = normal.parameter({s["k"]});
  return [=] { return conv2d(x, weight, {bias}, options); };
}

Call group_norm_call(Sizes s, const Inputs& normal) {
  const GroupNormOptions options{.groups = s["groups"], .silu = s["silu"] != 0};
  const Var x = normal({s["n"], s["h"], s["w"], s["c"]}), gamma = normal.parameter({s["c"]}),
            beta = normal.parameter({s["c"]});
  return [=] { return group_norm(x, gamma, beta, options); };
}

// A block of a U-Net without its attention.
struct Block {
  Parameters parameters;
  ResnetBlock resnet;

  Block(int64_t in, int64_t out, int64_t time_width, int64_t groups, Dtype dtype)
      : resnet(Scope(parameters), in, out,
               {.time_embedding_width = time_width, .groups = groups, .groups_out = groups}) {
    PhiloxGenerator random(0);
    parameters.allocate();
    parameters.initialize(random);
    parameters.to(Device::cuda);
    parameters.compute_in(dtype);
    parameters.round();
    parameters.require_gradients(true);
  }
};

Call resnet_block_call(Sizes s, const Inputs& normal) {
  const auto block = std::make_shared<Block>(s["c"], s["k"], s["time"], s["groups"], normal.dtype());
  const Var x = normal({s["n"], s["h"], s["w"], s["c"]}), embedding = normal({s["n"], s["time"]});
  return [=] { return block->resnet(x, embedding); };
}

Call attention_call(Sizes s, const Inputs& normal) {
  const Shape shape{s["n"], s["tokens"], s["heads"] * s["width"]};
  const Var q = normal(shape), k = normal(shape), v = normal(shape);
  return [=, heads = s["heads"]] { return attention(q, k, v, heads); };
}

Call linear_call(Sizes s, const Inputs& normal) {
  const Var x = normal({s["m"], s["k"]}), weight = normal({s["n"], s["k"]}), bias = normal.parameter({s["n"]});
  return [=] { return linear(x, weight, bias); };
}

template <Var kOperation(const Var&)>
Call map_call(Sizes s, const Inputs& normal) {
  const Var x = normal({s["n"], s["h"], s["w"], s["c"]});
  return [=] { return kOperation(x); };
}

Call add_call(Sizes s, const Inputs& normal) {
  const Shape shape{s["n"], s["h"], s["w"], s["c"]};
  const Var a = normal(shape), b = normal(shape);
  return [=] { return a + b; };
}

struct Operation {
  const char* name;
  Sizes sizes;
  Call (*call)(Sizes, const Inputs&);
};

const std::vector<Operation>& operations() {
  static const Sizes map{{"n", 2}, {"h", 16}, {"w", 16}, {"c", 128}};
  static const std::vector<Operation> all = {
      {"conv2d",
       {{"n", 2}, {"h", 16}, {"w", 16}, {"c", 128}, {"k", 128}, {"kernel", 3}, {"stride", 1}, {"upsample", 0}},
       conv2d_call},
      {"group_norm", {{"n", 2}, {"h", 32}, {"w", 32}, {"c", 128}, {"groups", 32}, {"silu", 1}}, group_norm_call},
      {"resnet_block",
       {{"n", 2}, {"h", 32}, {"w", 32}, {"c", 64}, {"k", 64}, {"time", 128}, {"groups", 32}},
       resnet_block_call},
      {"linear", {{"m", 256}, {"n", 128}, {"k", 128}}, linear_call},
      {"silu", map, map_call<silu>},
      {"add", map, add_call},
      {"upsample_nearest", map, map_call<upsample_nearest>},
      {"attention", {{"n", 1}, {"tokens", 256}, {"heads", 16}, {"width", 8}}, attention_call},
  };
  return all;
}

std::string listed(const Sizes& sizes) {
  std::string text;
  for (const auto& [name, size] : sizes) text += fmt::format(" {}={}", name, size);
  return text;
}

const Operation& operation_named(const std::string& name) {
  std::string known;
  for (const Operation& o : operations()) {
    if (name == o.name) return o;
    known += (known.empty() ? "" : ", ") + std::string(o.name);
  }
  fail("--operation {}: there are {}", name, known);
}

void set_size(OperationRequest& request, const std::string& word) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const auto found = request.sizes.find(name);
  check(found != request.sizes.end(), "--operation {}: {} is none of its sizes,{}", request.name, name,
        listed(request.sizes));
  const char *begin = word.data() + equals + 1, *end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(begin, end, found->second);
  check(error == std::errc() && stop == end && found->second >= 0, "--operation {}: '{}' is no size", request.name,
        word);
}

// A network with one batch, and all that one step of its training computes.
struct TrainingStep {
  TrainingStep(const TrainingStepRequest&, const UNet2DConfig&, Dtype);
  void run();

  Parameters parameters;
  UNet2DModel unet;
  std::optional<Adam> adam;
  Tensor images, noise, timesteps, labels;
};

TrainingStep::TrainingStep(const TrainingStepRequest& r, const UNet2DConfig& c, Dtype dtype)
    : unet(Scope(parameters), c) {
  PhiloxGenerator random(0);
  parameters.allocate();
  parameters.initialize(random);
  parameters.to(Device::cuda);
  parameters.compute_in(dtype);
  parameters.round();
  parameters.require_gradients(true);
  adam.emplace(parameters, AdamOptions{});
  const int64_t height = r.height ? r.height : c.sample_height.value_or(32),
                width = r.width ? r.width : c.sample_width.value_or(32);
  images = normal(random, {r.batch, height, width, c.in_channels}).to(Device::cuda);
  noise = normal(random, {r.batch, height, width, c.out_channels}).to(Device::cuda);
  timesteps = integers(random, {r.batch}, 0, 1000).to(Device::cuda);
  if (c.num_class_embeds) labels = integers(random, {r.batch}, 0, *c.num_class_embeds).to(Device::cuda);
}

void TrainingStep::run() {
  parameters.clear_gradients();
  backward(mse(unet(images, timesteps, labels), noise));
  adam->step(1e-3, 0);
}

}  // namespace

std::string OperationRequest::title() const { return name + listed(sizes); }

std::vector<OperationRequest> parse_operations(const std::vector<std::string>& words) {
  std::vector<OperationRequest> requests;
  for (const std::string& word : words) {
    if (word.find('=') == std::string::npos)
      requests.push_back({word, operation_named(word).sizes});
    else {
      check(!requests.empty(), "--operation {}: begins with a size, not with a name", word);
      set_size(requests.back(), word);
    }
  }
  return requests;
}

std::vector<OperationRequest> default_operations() {
  std::vector<OperationRequest> requests;
  for (const Operation& o : operations()) requests.push_back({o.name, o.sizes});
  return requests;
}

std::string describe_operations() {
  std::string text;
  for (const OperationRequest& r : default_operations()) text += (text.empty() ? "" : "; ") + r.title();
  return text;
}

std::function<void()> prepare(const OperationRequest& request, Dtype dtype) {
  const Inputs inputs(dtype);
  const Call call = operation_named(request.name).call(request.sizes, inputs);
  Shape shape;
  {
    const NoGrad no_grad;
    shape = call().shape();
  }
  return [call, dy = inputs(shape).value()] { backward(call(), dy); };
}

std::function<void()> prepare(const TrainingStepRequest& request, Dtype dtype) {
  std::vector<std::string> notices;
  const auto config = UNet2DConfig::from_json(read_file(request.config), request.config, notices);
  const auto step = std::make_shared<TrainingStep>(request, config, dtype);
  return [step] { step->run(); };
}

}  // namespace stipple
