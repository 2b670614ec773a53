#pragma once
#include <map>
#include <utility>

#include "tensor/file.h"
#include "tensor/tensor_file.h"

// The safetensors format: u64 length of the header, little endian; the header, JSON: {"name": {"dtype": "F32", "shape":
// [2,3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text"}}; the elements, row-major, offsets counted
// from the header's end, without gaps.

namespace stipple {

class SafetensorsFile : public TensorFile {
 public:
  struct Entry {
    Dtype dtype;
    Shape shape;
    size_t begin, end;  // bytes of the file
  };

  // Throws Error for whatever the format forbids, naming file and tensor.
  explicit SafetensorsFile(const std::string& path);

  std::vector<std::string> names() const override;
  bool contains(const std::string& name) const override { return entries_.count(name) > 0; }
  const Shape& shape(const std::string& name) const override { return entry(name).shape; }
  Dtype dtype(const std::string& name) const override { return entry(name).dtype; }
  Tensor load(const std::string& name) const override;
  void load_into(const Tensor& to, const std::string& name, bool channels_last) const override;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  const Entry& entry(const std::string& name) const;
  std::span<const std::byte> elements(const Entry&) const;

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Written through an AtomicFile, in the reference implementation's order: wide dtypes first, then by name.
void save_safetensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace stipple
