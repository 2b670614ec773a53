#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "autograd/ops.h"
#include "bench/gpu.h"
#include "bench/work.h"
#include "diffusion/pipeline.h"
#include "kernels/recorded_work.h"
#include "nn/optimizer.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/random.h"

// Whole networks: a training step with everything random drawn before, and a forward pass.

namespace stipple::bench {
namespace {

using Request = nlohmann::json;

// The course's network for digits (unit 2, notebook 02): four constant planes of a class embedding beside the picture.
UNet2DConfig course_network() {
  UNet2DConfig c;
  c.sample_height = c.sample_width = 28;
  c.in_channels = 1 + 4;
  c.out_channels = 1;
  c.block_out_channels = {32, 64, 64};
  c.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"};
  c.up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  return c;
}

UNet2DConfig network_of(const std::string& config) {
  if (config == "mnist") return course_network();
  std::vector<std::string> notices;
  return UNet2DConfig::from_json(read_file(config), config, notices);
}

ConditioningConfig conditioning_of(const std::string& config, const UNet2DConfig& unet) {
  if (config == "mnist") return {.kind = ClassConditioning::channels, .classes = 10};
  if (unet.num_class_embeds) return {.kind = ClassConditioning::embedding, .classes = *unet.num_class_embeds};
  return {};
}

// A network with the batch it is given again and again.
struct Bench {
  explicit Bench(const Request& r) : Bench(r, network_of(r.at("config"))) {}

  Var predict() const { return pipeline.denoiser(images, timesteps, labels); }

  Pipeline pipeline;
  Tensor images, noise;      // [N, H, W, C]
  Tensor timesteps, labels;  // i64 [N]; labels only where the network takes some

 private:
  Bench(const Request& r, const UNet2DConfig& c) : pipeline(c, conditioning_of(r.at("config"), c), {}) {
    PhiloxGenerator random(0);
    const Device device = is_for_gpu(r) ? Device::cuda : Device::cpu;
    pipeline.parameters.initialize(random);
    pipeline.parameters.to(device);
    if (r.value("dtype", "f32") == "bf16") pipeline.parameters.compute_in(Dtype::bf16);
    const int64_t n = r.at("batch"), height = r.value("height", c.sample_height.value_or(32)),
                  width = r.value("width", c.sample_width.value_or(32));
    images = normal(random, {n, height, width, pipeline.denoiser.image_channels()}).to(device);
    noise = normal(random, {n, height, width, c.out_channels}).to(device);
    timesteps = integers(random, {n}, 0, 1000).to(device);
    if (const auto& conditioning = pipeline.denoiser.conditioning; conditioning.kind != ClassConditioning::none)
      labels = integers(random, {n}, 0, conditioning.classes).to(device);
  }
};

struct TrainingBench : Bench {
  explicit TrainingBench(const Request& r)
      : Bench(r), adam((pipeline.parameters.require_gradients(true), pipeline.parameters), {}) {}

  void step() {
    pipeline.parameters.clear_gradients();
    backward(mse(predict(), noise));
    adam.step(1e-3, 0);
  }

  // On a GPU, as DeviceStep (diffusion/training/device_step.h): the step's numbers are in device memory when it begins.
  void step_on_gpu() {
    adam.prepare(1e-3, 0);
    graph ? graph->launch() : compute();
  }
  void record() {
    step_on_gpu();
    graph.emplace([this] { compute(); });
  }

  Adam adam;
  std::optional<RecordedWork> graph;

 private:
  void compute() {
    pipeline.parameters.clear_gradients();
    const Var loss = mse(predict(), noise);
    backward(loss);
    adam.take_prepared(loss.value(), {});
  }
};

}  // namespace

Work prepare_training_step(const Request& request) {
  const auto training = std::make_shared<TrainingBench>(request);
  if (is_for_gpu(request)) {
    if (request.value("mode", "graph") == "graph") training->record();
    return {.run = [training] { training->step_on_gpu(); }, .network = true};
  }
  return {.run = [training] { training->step(); }, .network = true};
}

Work prepare_forward(const Request& request) {
  const auto network = std::make_shared<Bench>(request);
  const auto run = [network] {
    const NoGrad no_grad;
    network->predict();
  };
  return {.run = run, .network = true};
}

}  // namespace stipple::bench
