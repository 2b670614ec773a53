#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor_file.h"

namespace stipple {

// The tensors of one or more files, under one roof. A name that two files hold is an error.
class WeightFiles {
 public:
  void add(const std::string& path);

  const std::map<std::string, Shape>& shapes() const { return shapes_; }
  void load_into(const Tensor& to, const std::string& name, bool channels_last) const {
    owners_.at(name)->load_into(to, name, channels_last);
  }

 private:
  std::vector<std::unique_ptr<TensorFile>> files_;
  std::map<std::string, const TensorFile*> owners_;
  std::map<std::string, Shape> shapes_;
};

// Where diffusers looks for a model's weights (ModelMixin.from_pretrained), the first that is there:
//   diffusion_pytorch_model.safetensors.index[.VARIANT].json    and the shards it lists
//   diffusion_pytorch_model[.VARIANT].safetensors
//   diffusion_pytorch_model[.VARIANT].bin
//   diffusion_pytorch_model.bin.index[.VARIANT].json            and the shards it lists
// An empty variant is none. A variant that was asked for and is missing is an error that lists those there are.
std::vector<std::filesystem::path> find_weights(const std::filesystem::path& folder, const std::string& variant);

}  // namespace stipple
