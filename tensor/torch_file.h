#pragma once
#include <map>
#include <optional>

#include "tensor/file.h"
#include "tensor/pickle.h"
#include "tensor/tensor_file.h"
#include "tensor/zip.h"

namespace stipple {

// A state dict as torch.save writes it: a dictionary of tensors, pickled, each tensor a view (offset, sizes, strides)
// of a storage. Either a zip archive, PREFIX/data.pkl and PREFIX/data/KEY, or, before PyTorch 1.6, a stream: the
// pickles of a magic number, the protocol version, the system's sizes, the state dict and the storages' keys, then for
// each key its count of elements (i64) and the elements.
//
// The pickle is read as data (pickle.h): whatever is more than rebuilding tensors is refused by its name.
class TorchFile : public TensorFile {
 public:
  explicit TorchFile(const std::string& path);

  std::vector<std::string> names() const override;
  bool contains(const std::string& name) const override { return entries_.count(name) > 0; }
  const Shape& shape(const std::string& name) const override { return entry(name).shape; }
  Dtype dtype(const std::string& name) const override { return entry(name).storage->dtype; }
  Tensor load(const std::string& name) const override;

 private:
  struct Storage {
    Dtype dtype;
    int64_t numel;
    size_t begin = 0;                           // of the stream
    const ZipArchive::Entry* packed = nullptr;  // of the archive
    size_t bytes() const { return numel * size_of(dtype); }
  };
  struct Entry {
    const Storage* storage;
    int64_t offset;  // in elements, like the strides
    Shape shape, strides;
  };
  using Value = Pickle::Value;

  void read_archive();
  void read_stream();
  void place_storages(const Value& keys, size_t begin);
  void read_storages(const Pickle&);
  void read_entries(const Value& state_dict);
  Entry read_tensor(const std::string& where, const Value&) const;
  void check_inside(const std::string& where, const Entry&) const;

  const Entry& entry(const std::string& name) const;
  std::span<const std::byte> elements_of(const Storage&, std::vector<std::byte>& unpacked) const;

  MappedFile file_;
  std::optional<ZipArchive> archive_;
  std::map<std::string, Storage, std::less<>> storages_;  // by key
  std::map<std::string, Entry> entries_;
};

}  // namespace stipple
