#include "tensor/tensor_file.h"

#include "tensor/bytes.h"
#include "tensor/in_quotes.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"
#include "tensor/torch_file.h"

namespace stipple {

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path) {
  if (path.ends_with(".safetensors")) return std::make_unique<SafetensorsFile>(path);
  return std::make_unique<TorchFile>(path);
}

void TensorFile::check_fetched(std::span<const std::byte> file) const {
  check(!starts_with(file, "version https://git-lfs"),
        "{}: is a Git LFS pointer, the weights themselves are not there: run `git lfs pull`, or download the file",
        path_);
}

void TensorFile::load_into(const Tensor& to, const std::string& name, bool channels_last) const {
  const Tensor loaded = load(name);
  to.copy_from((channels_last ? to_channels_last(loaded) : loaded).to(to.dtype()));
}

std::string tensor_in_file(const std::string& path, std::string_view name) {
  return path + ": tensor " + in_quotes(name);
}

}  // namespace stipple
