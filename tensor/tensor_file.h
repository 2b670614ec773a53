#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace stipple {

// Named tensors in a file. Opening one reads and checks what describes them; elements are read from the disk when a
// tensor is loaded. Shapes and layouts are the file's: channels first, for what other programs wrote.
class TensorFile {
 public:
  virtual ~TensorFile() = default;

  const std::string& path() const { return path_; }
  virtual std::vector<std::string> names() const = 0;  // sorted
  virtual bool contains(const std::string& name) const = 0;
  virtual const Shape& shape(const std::string& name) const = 0;
  virtual Dtype dtype(const std::string& name) const = 0;
  virtual Tensor load(const std::string& name) const = 0;  // a copy
  // Fills `to`, converting to its dtype and, where `channels_last`, the file's [A,B,...] to [A,...,B].
  virtual void load_into(const Tensor& to, const std::string& name, bool channels_last) const;

 protected:
  explicit TensorFile(std::string path) : path_(std::move(path)) {}
  void check_fetched(std::span<const std::byte> file) const;  // that it is no pointer which Git LFS left in its place

  std::string path_;
};

// NAME.safetensors, or under any other name what torch.save wrote.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path);

std::string tensor_in_file(const std::string& path, std::string_view name);  // FILE: tensor "NAME", for messages

}  // namespace stipple
