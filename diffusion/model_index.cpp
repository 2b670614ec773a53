#include "diffusion/model_index.h"

#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : ""; }

// A component is [library, class]; an optional one that is left out is [null, null], and all else is an option.
std::string class_of(const Json& entry) { return entry.is_array() && entry.size() == 2 ? text_of(entry[1]) : ""; }

}  // namespace

ModelIndex ModelIndex::from_json(const std::string& text, const std::string& file) {
  const Json object = Json::parse(text, nullptr, false);
  check(object.is_object(), "{}: is no JSON object", file);
  ModelIndex index{.pipeline = text_of(object.value("_class_name", Json())), .scheduler = {}};
  for (const auto& [name, entry] : object.items()) {
    const std::string class_name = class_of(entry);
    if (name == "scheduler") index.scheduler = class_name;
    if (name == "scheduler" || class_name.empty()) continue;
    check(name == "unet" && class_name == "UNet2DModel",
          "{}: {} with a component {} of class {}: only pipelines of a unet (UNet2DModel) and a scheduler can be used",
          file, index.pipeline.empty() ? "a pipeline" : in_quotes(index.pipeline), in_quotes(name),
          in_quotes(class_name));
  }
  return index;
}

std::string ModelIndex::to_json() const {
  const char* usual = scheduler == "DDIMScheduler" ? "DDIMPipeline" : "DDPMPipeline";
  const Json object{{"_class_name", pipeline.empty() ? usual : pipeline},
                    {"_diffusers_version", "0.42.1"},
                    {"scheduler", {"diffusers", scheduler}},
                    {"unet", {"diffusers", "UNet2DModel"}}};
  return object.dump(2) + "\n";
}

}  // namespace stipple
