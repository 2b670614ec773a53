#include "diffusion/weight_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/file.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kName = "diffusion_pytorch_model";

// weight_map: the file that holds each tensor.
std::vector<fs::path> shards_of(const fs::path& index) {
  const Json object = Json::parse(read_file(index), nullptr, false);
  const Json map = object.is_object() ? object.value("weight_map", Json()) : Json();
  check(map.is_object() && !map.empty(), "{}: has no weight_map", index.string());
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.items()) {
    check(file.is_string(), "{}: weight_map {} is no file name", index.string(), in_quotes(tensor));
    names.insert(file.get<std::string>());
  }
  std::vector<fs::path> shards;
  for (const std::string& name : names) {
    check(fs::path(name).filename() == name, "{}: {} is no plain file name", index.string(), in_quotes(name));
    std::error_code too_long;
    check(fs::exists(index.parent_path() / name, too_long), "{}: the shard {} is missing", index.string(),
          in_quotes(name));
    shards.push_back(index.parent_path() / name);
  }
  return shards;
}

// "fp16" of diffusion_pytorch_model.fp16.safetensors, of its shards and of their index; nothing where there is none.
std::string variant_of(const std::string& file) {
  std::string name = file;
  for (const std::string known : {".json", ".index", ".safetensors", ".bin"})
    if (const size_t at = name.find(known); at != std::string::npos) name.erase(at, known.size());
  if (!name.starts_with(kName + ".")) return "";
  return name.substr(kName.size() + 1, name.find("-0") - kName.size() - 1);
}

std::string variants_in(const fs::path& folder) {
  std::set<std::string> variants;
  for (const auto& entry : fs::directory_iterator(folder))
    variants.insert(variant_of(entry.path().filename().string()));
  std::string list;
  for (const std::string& variant : variants)
    if (!variant.empty()) list += (list.empty() ? "" : ", ") + variant;
  return list.empty() ? "none" : list;
}

}  // namespace

void WeightFiles::add(const std::string& path) {
  const TensorFile& file = *files_.emplace_back(open_tensor_file(path));
  for (const std::string& name : file.names()) {
    const auto [owner, is_new] = owners_.emplace(name, &file);
    check(is_new, "{} is in {}, too", tensor_in_file(path, name), owner->second->path());
    shapes_[name] = file.shape(name);
  }
}

std::vector<fs::path> find_weights(const fs::path& folder, const std::string& variant) {
  const std::string dotted = variant.empty() ? "" : "." + variant;
  const fs::path safetensors = folder / (kName + dotted + ".safetensors"), bin = folder / (kName + dotted + ".bin"),
                 safetensors_index = folder / (kName + ".safetensors.index" + dotted + ".json"),
                 bin_index = folder / (kName + ".bin.index" + dotted + ".json");
  if (fs::exists(safetensors_index)) return shards_of(safetensors_index);
  if (fs::exists(safetensors)) return {safetensors};
  if (fs::exists(bin)) return {bin};
  if (fs::exists(bin_index)) return shards_of(bin_index);
  check(variant.empty(), "{}: has no weights of the variant '{}'; variants there: {}", folder.string(), variant,
        variants_in(folder));
  fail("{}: has no {}.safetensors or .bin; variants there: {}", folder.string(), kName, variants_in(folder));
}

}  // namespace stipple
