#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "diffusion/derive_unet.h"
#include "diffusion/memory_estimate.h"

namespace stipple {
namespace {

struct InfoCommand {
  CommonOptions common;
  ModelOptions model;
};

using Json = nlohmann::ordered_json;

std::vector<int64_t> shape_in_file(const Parameter& p) {
  std::vector<int64_t> shape(p.shape().begin(), p.shape().end());
  if (p.layout() == FileLayout::oihw) std::rotate(shape.begin() + 1, shape.end() - 1, shape.end());
  return shape;
}

std::string classes_of(const Pipeline& pipeline) {
  const ConditioningConfig& c = pipeline.denoiser.conditioning;
  const ClassEmbedding embedding = pipeline.denoiser.unet.config.class_embedding;
  if (embedding == ClassEmbedding::timestep)
    return "none; takes numbers and embeds them as timesteps (`stipple forward` only)";
  if (embedding == ClassEmbedding::identity) return "none; takes embeddings (`stipple forward` only)";
  if (c.kind == ClassConditioning::none) return "none";
  return fmt::format("{}, by {}{}", c.classes, name_of(c.kind), c.label_dropout ? ", guidance possible" : "");
}

MemoryEstimate memory_of(const Pipeline& pipeline, Dtype compute) {
  const UNet2DConfig& unet = pipeline.denoiser.unet.config;
  return estimate_memory(pipeline, unet.sample_height.value_or(64), unet.sample_width.value_or(64), compute);
}

Json describe_pipeline(const Pipeline& pipeline) {
  const UNet2DConfig& unet = pipeline.denoiser.unet.config;
  const MemoryEstimate memory = memory_of(pipeline, Dtype::f32), bf16 = memory_of(pipeline, Dtype::bf16);
  Json tensors = Json::object();
  for (const Parameter& p : pipeline.parameters.all()) tensors[p.name()] = shape_in_file(p);
  return {{"parameters", pipeline.parameters.count()},
          {"tensors", pipeline.parameters.all().size()},
          {"memory",
           {{"weights", memory.weights},
            {"training_state", memory.training_state},
            {"activations", memory.activations},
            {"bf16", {{"training_state", bf16.training_state}, {"activations", bf16.activations}}}}},
          {"unet", Json::parse(unet.to_json())},
          {"conditioning", Json::parse(pipeline.denoiser.conditioning.to_json())},
          {"scheduler", Json::parse(pipeline.scheduler.to_json())},
          {"shapes", tensors}};
}

std::string mebibytes(int64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

void print(const Pipeline& pipeline) {
  const UNet2DConfig& unet = pipeline.denoiser.unet.config;
  const int64_t height = unet.sample_height.value_or(64), width = unet.sample_width.value_or(64);
  const MemoryEstimate memory = memory_of(pipeline, Dtype::f32), bf16 = memory_of(pipeline, Dtype::bf16);
  std::printf("parameters    %s in %zu tensors\n", fmt::format("{}", pipeline.parameters.count()).c_str(),
              pipeline.parameters.all().size());
  std::printf("network       %s\n", summary(unet).c_str());
  std::printf("pictures      %lldx%lld, %lld channels; sides are multiples of %lld\n", static_cast<long long>(height),
              static_cast<long long>(width), static_cast<long long>(pipeline.denoiser.image_channels()),
              static_cast<long long>(unet.size_divisor()));
  std::printf("classes       %s\n", classes_of(pipeline).c_str());
  std::printf("scheduler     %s, %s betas, %lld timesteps, predicts %s\n", pipeline.scheduler.class_name.c_str(),
              pipeline.scheduler.beta_schedule.c_str(), static_cast<long long>(pipeline.scheduler.num_train_timesteps),
              pipeline.scheduler.prediction_type.c_str());
  std::printf("memory        weights %s; training adds about %s and %s a picture of the batch (%s and %s in bf16)\n",
              mebibytes(memory.weights).c_str(), mebibytes(memory.training_state).c_str(),
              mebibytes(memory.activations).c_str(), mebibytes(bf16.training_state).c_str(),
              mebibytes(bf16.activations).c_str());
}

void run(const InfoCommand& o) {
  o.common.apply();
  const auto pipeline = o.model.load(o.common.device());
  if (o.common.json)
    std::printf("%s\n", describe_pipeline(*pipeline).dump(2).c_str());
  else
    print(*pipeline);
}

}  // namespace

void add_info(CLI::App& app) {
  auto o = std::make_shared<InfoCommand>();
  CLI::App* command = app.add_subcommand("info", "what a pipeline is made of");
  o->model.add_to(*command);
  o->common.add_to(*command, false, true);
  command->callback([o] { run(*o); });
}

}  // namespace stipple
