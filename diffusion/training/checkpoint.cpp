#include "diffusion/training/checkpoint.h"

#include <algorithm>

#include "diffusion/json_fields.h"
#include "tensor/file.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "checkpoint-";

// The arenas of a training run under the names they have in training/state.safetensors.
std::vector<std::pair<std::string, Tensor>> arenas(const Pipeline& pipeline, const Trainer& trainer) {
  std::vector<std::pair<std::string, Tensor>> all{{"weights", pipeline.parameters.values()},
                                                  {"first_moment", trainer.adam().first_moment()},
                                                  {"second_moment", trainer.adam().second_moment()}};
  if (trainer.ema()) all.emplace_back("ema", trainer.ema());
  return all;
}

std::string state_json(const Trainer& trainer, const RunSettings& settings) {
  nlohmann::ordered_json j;
  j["step"] = trainer.steps();
  j["use_ema"] = trainer.ema().defined();
  j["settings"] = settings;
  return j.dump(2) + "\n";
}

void load_arena(const SafetensorsFile& file, const std::string& arena_name, const Parameters& parameters,
                const Tensor& arena) {
  std::map<std::string, Shape> present;
  for (const std::string& name : file.names())
    if (name.starts_with(arena_name + ".")) present[name.substr(arena_name.size() + 1)] = file.shape(name);
  const auto read = [&](const Tensor& to, const std::string& name, bool channels_last) {
    file.load_into(to, arena_name + "." + name, channels_last);
  };
  parameters.from_file(arena, present, read, file.path());
}

RunSettings read_settings(JsonFields& fields) {
  RunSettings settings;
  const nlohmann::json* found = fields.find("settings");
  if (!found) return settings;
  check(found->is_object(), "{}: field 'settings' cannot be {}", fields.file(), found->dump());
  for (const auto& [name, value] : found->items()) settings[name] = fields.as<std::string>(name.c_str(), value);
  return settings;
}

}  // namespace

fs::path checkpoint_folder(const fs::path& dir, int64_t step) { return dir / (kPrefix + std::to_string(step)); }

int64_t step_of_checkpoint(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return -1;
  const std::string number = name.substr(std::string(kPrefix).size());
  const bool digits =
      !number.empty() && number.size() < 19 && number.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::stoll(number) : -1;
}

void save_checkpoint(const fs::path& folder, const Pipeline& pipeline, const Trainer& trainer,
                     const Generator& generator, const RunSettings& settings) {
  const fs::path temporary = temporary_beside(folder.string());
  try {
    pipeline.save(temporary.string(), trainer.best_weights());
    fs::create_directories(temporary / "training");
    std::vector<std::pair<std::string, Tensor>> tensors{{"random_state", generator.state()}};
    for (const auto& [name, arena] : arenas(pipeline, trainer))
      for (auto& [parameter, tensor] : pipeline.parameters.to_file(arena))
        tensors.emplace_back(name + "." + parameter, tensor);
    save_safetensors((temporary / "training" / "state.safetensors").string(), tensors);
    write_file_atomically((temporary / "training" / "state.json").string(), state_json(trainer, settings));
    replace_folder(temporary.string(), folder.string());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

RunSettings load_checkpoint(const fs::path& folder, Pipeline& pipeline, Trainer& trainer, Generator& generator) {
  const fs::path training = folder / "training";
  check(fs::exists(training / "state.json"), "{}: not a checkpoint: it has no training/state.json", folder.string());
  JsonFields fields(read_file((training / "state.json").string()), (training / "state.json").string());
  int64_t step = 0;
  bool use_ema = false;
  fields.read("step", step);
  check(step >= 1, "{}: field 'step' is missing or not positive", fields.file());
  fields.read("use_ema", use_ema);
  const RunSettings settings = read_settings(fields);
  check(use_ema == trainer.ema().defined(), "{}: was trained {} --use-ema; resume it the same way", folder.string(),
        use_ema ? "with" : "without");
  const SafetensorsFile file((training / "state.safetensors").string());
  for (const auto& [name, arena] : arenas(pipeline, trainer)) load_arena(file, name, pipeline.parameters, arena);
  generator.set_state(file.load("random_state"));
  trainer.adam().set_steps(step);
  return settings;
}

std::vector<fs::path> list_checkpoints(const fs::path& dir) {
  std::vector<fs::path> found;
  if (!fs::is_directory(dir)) return found;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.is_directory() && step_of_checkpoint(entry.path()) >= 0) found.push_back(entry.path());
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return step_of_checkpoint(a) < step_of_checkpoint(b); });
  return found;
}

void prune_checkpoints(const fs::path& dir, int64_t limit) {
  const auto all = list_checkpoints(dir);
  for (int64_t i = 0; i + limit < static_cast<int64_t>(all.size()); ++i) fs::remove_all(all[i]);
}

int64_t pipeline_bytes(const Pipeline& pipeline) { return pipeline.parameters.count() * 4; }

int64_t checkpoint_bytes(const Pipeline& pipeline, bool use_ema) {
  return pipeline_bytes(pipeline) *
         (use_ema ? 5 : 4);  // the pipeline, and raw weights, two moments (and EMA) in training/
}

}  // namespace stipple
