#include "tensor/tensor_file.h"

#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"
#include "tensor/torch_file.h"

namespace stipple {

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path) {
  if (path.ends_with(".safetensors")) return std::make_unique<SafetensorsFile>(path);
  return std::make_unique<TorchFile>(path);
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kMost = 200;
  const std::string shown = text.size() <= kMost ? std::string(text) : std::string(text.substr(0, kMost)) + "...";
  return nlohmann::json(shown).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string tensor_in_file(const std::string& path, std::string_view name) {
  return path + ": tensor " + in_quotes(name);
}

}  // namespace stipple
