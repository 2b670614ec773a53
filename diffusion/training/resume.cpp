#include "diffusion/training/resume.h"

#include <nlohmann/json.hpp>

namespace stipple {
namespace {

using Json = nlohmann::json;

// Pictures and classes decide about these where a configuration leaves them open.
UNet2DConfig without_what_data_decides(UNet2DConfig given, const UNet2DConfig& saved) {
  given.sample_height = saved.sample_height, given.sample_width = saved.sample_width;
  if (given.class_embedding == ClassEmbedding::none)
    given.class_embedding = saved.class_embedding, given.num_class_embeds = saved.num_class_embeds;
  if (given.in_channels == given.out_channels) given.in_channels = saved.in_channels;
  return given;
}

std::string text(bool value) { return value ? "true" : "false"; }
template <typename T>
std::string text(T number) {
  return fmt::format("{}", number);
}

void add_optimizer(RunSettings& s, const OptimizerOptions& o, int64_t total_steps) {
  s["learning-rate"] = text(o.learning_rate);
  s["lr-scheduler"] = o.schedule.name;
  s["lr-warmup-steps"] = text(o.schedule.warmup_steps);
  if (!o.schedule.name.starts_with("constant")) s["max-train-steps"] = text(total_steps);
  s["adam-beta1"] = text(o.adam.beta1);
  s["adam-beta2"] = text(o.adam.beta2);
  s["adam-epsilon"] = text(o.adam.eps);
  s["adam-weight-decay"] = text(o.adam.weight_decay);
  s["max-grad-norm"] = text(o.max_grad_norm);
  if (!o.use_ema) return;
  s["ema-inv-gamma"] = text(o.ema.inv_gamma);
  s["ema-power"] = text(o.ema.power);
  s["ema-max-decay"] = text(o.ema.max_decay);
}

}  // namespace

void check_same_network(const UNet2DConfig& given, const std::string& name, const UNet2DConfig& saved) {
  const Json before = Json::parse(saved.to_json()),
             now = Json::parse(without_what_data_decides(given, saved).to_json());
  for (const auto& [key, value] : before.items())
    check(now[key] == value, "{}: {} is {}, but {} in the checkpoint that the run goes on from", name, key,
          now[key].dump(), value.dump());
}

void check_same_schedule(const SchedulerConfig& given, const SchedulerConfig& saved) {
  const Json before = Json::parse(saved.to_json()), now = Json::parse(given.to_json());
  for (const std::string& key : given.given)
    check(now[key] == before.value(key, Json()), "{} {}: it is {} in the checkpoint that the run goes on from", key,
          now[key].dump(), before.value(key, Json()).dump());
}

RunSettings settings_of(const TrainOptions& o, const Dataset* data, int64_t total_steps) {
  RunSettings s{{"seed", text(o.seed)},
                {"train-batch-size", text(o.train_batch_size)},
                {"gradient-accumulation-steps", text(o.steps.gradient_accumulation_steps)},
                {"label-dropout", text(o.steps.label_dropout)},
                {"mixed-precision", name_of(o.mixed_precision)},
                {"random-flip", text(o.random_flip)},
                {"center-crop", text(o.dataset.fit == Fit::center_crop)},
                {"number of pictures", text(data ? data->size() : 0)}};
  if (data) s["resolution"] = fmt::format("{}x{}", data->height, data->width);
  add_optimizer(s, o.optimizer, total_steps);
  return s;
}

std::string changes(const RunSettings& saved, const RunSettings& now) {
  std::string listed;
  for (const auto& [name, before] : saved) {
    const auto found = now.find(name);
    if (found == now.end() || found->second == before) continue;
    listed += fmt::format("{}{} {} (now {})", listed.empty() ? "" : ", ", name, before, found->second);
  }
  return listed;
}

}  // namespace stipple
