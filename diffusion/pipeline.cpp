#include "diffusion/pipeline.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>

#include "diffusion/model_index.h"
#include "diffusion/weight_files.h"
#include "tensor/file.h"
#include "tensor/in_quotes.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "diffusion_pytorch_model.safetensors";
constexpr const char* kClassTable = "class_emb.weight";  // lives in conditioning/, not in unet/

// A component's folder: its own, or the root of a flat layout.
fs::path component(const fs::path& root, const char* name) {
  return fs::is_directory(root / name) ? root / name : root;
}

ModelIndex read_index(const fs::path& root) {
  const fs::path file = root / "model_index.json";
  return fs::exists(file) ? ModelIndex::from_json(read_file(file), file) : ModelIndex{};
}

SchedulerConfig read_scheduler_config(const fs::path& root, std::vector<std::string>& notices) {
  const fs::path file = component(root, "scheduler") / "scheduler_config.json";
  if (fs::exists(file)) return SchedulerConfig::from_json(read_file(file), file, notices);
  notices.push_back(fmt::format("{}: no scheduler_config.json, taking DDPM's defaults", root.string()));
  return {};
}

// diffusers makes the class that the index names of whatever configuration there is, and its DDIMPipeline makes DDIM of
// every scheduler.
SchedulerConfig read_scheduler(const fs::path& root, const ModelIndex& index, std::vector<std::string>& notices) {
  SchedulerConfig config = read_scheduler_config(root, notices);
  const std::string before = config.class_name;
  for (const std::string& next :
       {index.scheduler, std::string(index.pipeline == "DDIMPipeline" ? "DDIMScheduler" : "")})
    if (!next.empty() && next != config.class_name) config = config.as(next);
  if (config.class_name != before)
    notices.push_back(fmt::format("{}: scheduler_config.json is of {}, model_index.json makes it {}", root.string(),
                                  before, config.class_name));
  return config;
}

// Networks made by diffusers embed classes without saying more.
ConditioningConfig read_conditioning(const fs::path& root, const UNet2DConfig& unet,
                                     std::vector<std::string>& notices) {
  const fs::path file = root / "conditioning" / "config.json";
  if (fs::exists(file)) return ConditioningConfig::from_json(read_file(file), file, notices);
  if (unet.class_embedding != ClassEmbedding::table) return {};
  return {.kind = ClassConditioning::embedding, .classes = *unet.num_class_embeds};
}

// The type that a file is to hold. A number that is finite here must be finite there.
Tensor narrowed(const std::string& name, const Tensor& tensor, Dtype dtype) {
  const Tensor to = tensor.to(dtype), back = to.to(Dtype::f32);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const float value = tensor.data<float>()[i];
    check(std::isfinite(back.data<float>()[i]) || !std::isfinite(value),
          "the weights cannot be saved as {}: {} holds {}, which is too large for it", name_of(dtype), in_quotes(name),
          value);
  }
  return to;
}

bool looks_like_hub_id(const std::string& text) {
  const size_t slash = text.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string::npos && text.front() != '.' && text.front() != '~';
}

[[noreturn]] void fail_missing_folder(const std::string& given) {
  if (!looks_like_hub_id(given)) fail("there is no pipeline folder '{}'", given);
  const std::string name = given.substr(given.find('/') + 1);
  fail(
      "there is no pipeline folder '{}'; if it is an id of the Hugging Face hub, download it first: "
      "`hf download {} --local-dir {}`, and give that folder",
      given, given, name);
}

}  // namespace

Pipeline::Pipeline(const UNet2DConfig& unet, const ConditioningConfig& conditioning, const SchedulerConfig& schedule)
    : Pipeline(Declared{}, unet, conditioning, schedule) {
  parameters.allocate();
}

Pipeline::Pipeline(Declared, const UNet2DConfig& unet, const ConditioningConfig& conditioning,
                   const SchedulerConfig& schedule)
    : denoiser(Scope(parameters), unet, conditioning), scheduler(schedule) {}

std::unique_ptr<Pipeline> Pipeline::load(const std::string& folder, std::vector<std::string>& notices,
                                         const std::string& variant) {
  if (!fs::is_directory(folder)) fail_missing_folder(folder);
  const fs::path root = folder, unet_folder = component(root, "unet");
  const ModelIndex index = read_index(root);
  const fs::path config_file = unet_folder / "config.json";
  check(fs::exists(config_file), "{}: not a pipeline folder: it has neither unet/config.json nor config.json", folder);
  const auto unet = UNet2DConfig::from_json(read_file(config_file), config_file, notices);
  const auto conditioning = read_conditioning(root, unet, notices);
  const auto schedule = read_scheduler(root, index, notices);
  std::unique_ptr<Pipeline> pipeline(new Pipeline(Declared{}, unet, conditioning, schedule));
  pipeline->class_name = index.pipeline;
  pipeline->load_weights(unet_folder, root / "conditioning", variant);
  return pipeline;
}

void Pipeline::load_weights(const std::string& unet_folder, const std::string& conditioning_folder,
                            const std::string& variant) {
  WeightFiles weights;
  const auto paths = find_weights(unet_folder, variant);
  for (const fs::path& path : paths) weights.add(path);
  if (denoiser.class_emb) weights.add(fs::path(conditioning_folder) / "model.safetensors");
  const std::string shown = paths.size() == 1 ? paths.front().string() : unet_folder;
  parameters.check_file(weights.shapes(), shown);
  parameters.allocate();
  const auto read = std::bind_front(&WeightFiles::load_into, &weights);
  parameters.from_file(parameters.values(), weights.shapes(), read, shown);
}

void Pipeline::save(const std::string& folder, const Tensor& arena, Dtype dtype) const {
  const fs::path root = folder;
  auto tensors = parameters.to_file(arena);
  for (auto& [name, tensor] : tensors) tensor = narrowed(name, tensor, dtype);
  for (const char* part : {"unet", "scheduler"}) fs::create_directories(root / part);
  const auto table = std::find_if(tensors.begin(), tensors.end(), [](const auto& t) { return t.first == kClassTable; });
  if (table != tensors.end()) {
    fs::create_directories(root / "conditioning");
    save_safetensors(root / "conditioning" / "model.safetensors", {*table}, {{"format", "pt"}});
    tensors.erase(table);
  }
  save_safetensors(root / "unet" / kWeights, tensors, {{"format", "pt"}});
  write_file_atomically(root / "unet" / "config.json", denoiser.unet.config.to_json());
  write_file_atomically(root / "scheduler" / "scheduler_config.json", scheduler.to_file());
  if (denoiser.conditioning.kind != ClassConditioning::none) {
    fs::create_directories(root / "conditioning");
    write_file_atomically(root / "conditioning" / "config.json", denoiser.conditioning.to_json());
  }
  write_file_atomically(root / "model_index.json", ModelIndex{class_name, scheduler.class_name}.to_json());
}

Dtype save_dtype(const std::string& name) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16})
    if (name == name_of(dtype)) return dtype;
  fail("'{}' is no type to save weights in; there are f32, f16, bf16", name);
}

}  // namespace stipple
