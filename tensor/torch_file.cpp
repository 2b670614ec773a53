#include "tensor/torch_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tensor/bytes.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

static_assert(std::endian::native == std::endian::little, "files of torch.save are read as little endian");

using Kind = Pickle::Kind;
using Value = Pickle::Value;

constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2",
                           kRebuildOldTensor = "torch._utils._rebuild_tensor",
                           kRebuildParameter = "torch._utils._rebuild_parameter";

struct StorageType {
  std::string_view name;
  Dtype dtype;
};
constexpr std::array<StorageType, 7> kStorageTypes{{{"torch.FloatStorage", Dtype::f32},
                                                    {"torch.HalfStorage", Dtype::f16},
                                                    {"torch.BFloat16Storage", Dtype::bf16},
                                                    {"torch.DoubleStorage", Dtype::f64},
                                                    {"torch.LongStorage", Dtype::i64},
                                                    {"torch.IntStorage", Dtype::i32},
                                                    {"torch.ByteStorage", Dtype::u8}}};

// All that a state dict needs.
constexpr auto kAllowed = [] {
  std::array<std::string_view, kStorageTypes.size() + 4> names{Pickle::kOrderedDict, kRebuildTensor, kRebuildOldTensor,
                                                               kRebuildParameter};
  for (size_t i = 0; i < kStorageTypes.size(); ++i) names[4 + i] = kStorageTypes[i].name;
  return names;
}();

constexpr std::string_view kMagic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10};
constexpr int64_t kStreamVersion = 1001;

// What a value must be for the file to make sense.
const Value& expect(bool holds, const std::string& where, const Value& value) {
  check(holds, "{}: its pickle is no state dict as torch.save writes it", where);
  return value;
}

int64_t integer(const std::string& where, const Value& value) {
  return expect(value.kind == Kind::integer, where, value).integer;
}

std::string_view text(const std::string& where, const Value& value) {
  return expect(value.kind == Kind::text, where, value).text;
}

const Value& item(const std::string& where, const Value& list, size_t i) {
  expect((list.kind == Kind::tuple || list.kind == Kind::list) && i < list.items.size(), where, list);
  return *list.items[i];
}

Shape sizes(const std::string& where, const Value& tuple) {
  expect(tuple.kind == Kind::tuple, where, tuple);
  check(tuple.items.size() <= Shape::kMaxRank, "{} has {} dimensions, {} at most can be read", where,
        tuple.items.size(), Shape::kMaxRank);
  Shape shape;
  for (const Value* size : tuple.items) {
    check(integer(where, *size) >= 0, "{}: a size or stride of {}", where, size->integer);
    shape.push_back(size->integer);
  }
  return shape;
}

Dtype storage_dtype(const std::string& where, const Value& type) {
  const auto found = std::find_if(kStorageTypes.begin(), kStorageTypes.end(),
                                  [&](const StorageType& t) { return t.name == type.text; });
  expect(type.kind == Kind::global && found != kStorageTypes.end(), where, type);
  return found->dtype;
}

// A Parameter is a tensor with a flag; one may hold another.
const Value& without_parameter(const std::string& where, const Value& value) {
  const Value* tensor = &value;
  while (tensor->kind == Kind::call && tensor->items[0]->text == kRebuildParameter)
    tensor = &item(where, *tensor->items[1], 0);
  return *tensor;
}

bool is_contiguous(const Shape& shape, const Shape& strides) {
  int64_t expected = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

// Row-major order out of any strides.
void gather(const Tensor& to, const std::byte* from, const Shape& strides) {
  const size_t size = size_of(to.dtype());
  std::byte* bytes = to.mutable_bytes();
  for (int64_t i = 0; i < to.numel(); ++i) {
    int64_t at = 0, rest = i;
    for (int d = to.rank() - 1; d >= 0; rest /= to.dim(d--)) at += rest % to.dim(d) * strides[d];
    std::memcpy(bytes + i * size, from + at * size, size);
  }
}

}  // namespace

TorchFile::TorchFile(const std::string& path) : TensorFile(path), file_(path) {
  check_fetched(file_.bytes());
  if (starts_with(file_.bytes(), "PK"))
    read_archive();
  else
    read_stream();
}

void TorchFile::read_archive() {
  constexpr std::string_view kPickle = "/data.pkl", kOrder = "/byteorder";
  archive_.emplace(file_.bytes(), path_);
  std::string prefix;
  for (const auto& [name, packed] : archive_->entries())
    if (name.ends_with(kPickle)) prefix = name.substr(0, name.size() - kPickle.size());
  std::vector<std::byte> unpacked, unpacked_order;
  const auto bytes = archive_->read(archive_->entry(prefix + std::string(kPickle)), unpacked);
  const Pickle pickle(bytes, kAllowed, path_);
  read_storages(pickle);
  for (auto& [key, storage] : storages_) {
    storage.packed = &archive_->entry(fmt::format("{}/data/{}", prefix, key));
    check(storage.packed->size == storage.bytes(), "{}: storage {} has {} bytes, the file holds {}", path_,
          in_quotes(key), storage.bytes(), storage.packed->size);
  }
  const auto order = archive_->entries().find(prefix + std::string(kOrder));
  check(order == archive_->entries().end() || starts_with(archive_->read(order->second, unpacked_order), "little"),
        "{}: was written on a big-endian machine, which is not read", path_);
  read_entries(pickle.root());
}

void TorchFile::read_stream() {
  size_t at = 0;
  const Pickle magic(file_.bytes(), kAllowed, path_);
  expect(magic.root().kind == Kind::long_integer && magic.root().text == kMagic, path_, magic.root());
  const Pickle version(file_.bytes().subspan(at += magic.size()), kAllowed, path_);
  check(integer(path_, version.root()) == kStreamVersion, "{}: version {} of torch.save, {} expected", path_,
        version.root().integer, kStreamVersion);
  const Pickle system(file_.bytes().subspan(at += version.size()), kAllowed, path_);
  const Pickle state_dict(file_.bytes().subspan(at += system.size()), kAllowed, path_);
  const Pickle keys(file_.bytes().subspan(at += state_dict.size()), kAllowed, path_);
  read_storages(state_dict);
  place_storages(keys.root(), at + keys.size());
  read_entries(state_dict.root());
}

void TorchFile::place_storages(const Value& keys, size_t at) {
  size_t placed = 0;
  for (const Value* key : expect(keys.kind == Kind::list, path_, keys).items) {
    const auto found = storages_.find(text(path_, *key));
    expect(found != storages_.end(), path_, *key);
    Storage& storage = found->second;
    check(storage.begin == 0, "{}: storage {} is there twice", path_, in_quotes(key->text));
    int64_t numel = 0;
    check(file_.size() - at >= sizeof numel, "{}: is cut off before storage {}", path_, in_quotes(key->text));
    std::memcpy(&numel, file_.bytes().data() + at, sizeof numel);
    check(numel == storage.numel && storage.bytes() <= file_.size() - at - sizeof numel,
          "{}: storage {} has {} elements of {}, the file says {} and holds {} bytes more", path_, in_quotes(key->text),
          storage.numel, name_of(storage.dtype), numel, file_.size() - at - sizeof numel);
    storage.begin = at + sizeof numel;
    at = storage.begin + storage.bytes();
    ++placed;
  }
  check(placed == storages_.size(), "{}: holds {} storages of {}", path_, placed, storages_.size());
}

// ("storage", type, key, device, count of elements); in streams also None: no view of another storage.
void TorchFile::read_storages(const Pickle& pickle) {
  for (const Value& value : pickle.values()) {
    if (value.kind != Kind::persistent) continue;
    const Value& id = *value.items[0];
    expect(text(path_, item(path_, id, 0)) == "storage", path_, id);
    check(id.items.size() < 6 || id.items[5]->kind == Kind::none, "{}: has a storage that is a view, which is not read",
          path_);
    const std::string key(text(path_, item(path_, id, 2)));
    const Storage storage{storage_dtype(path_, item(path_, id, 1)), integer(path_, item(path_, id, 4))};
    const size_t most = file_.size() * size_t{2048} / size_of(storage.dtype);  // deflated it may be smaller
    check(storage.numel >= 0 && static_cast<size_t>(storage.numel) <= most, "{}: storage {} of {} elements", path_,
          in_quotes(key), storage.numel);
    const Storage& known = storages_.emplace(key, storage).first->second;
    check(known.dtype == storage.dtype && known.numel == storage.numel, "{}: storage {} contradicts itself", path_,
          in_quotes(key));
  }
}

void TorchFile::read_entries(const Value& state_dict) {
  expect(state_dict.kind == Kind::dictionary, path_, state_dict);
  for (size_t i = 0; i < state_dict.items.size(); i += 2) {
    const std::string name(text(path_, *state_dict.items[i]));
    const std::string where = tensor_in_file(path_, name);
    const Value& tensor = without_parameter(where, *state_dict.items[i + 1]);
    check(tensor.kind == Kind::call,
          "{}: what it holds under the name {} is no tensor; a dictionary of tensors, and nothing else, can be read",
          path_, in_quotes(name));
    check(entries_.emplace(name, read_tensor(where, tensor)).second, "{} is there twice", where);
  }
}

// (storage, offset, sizes, strides, ...)
TorchFile::Entry TorchFile::read_tensor(const std::string& where, const Value& tensor) const {
  const Value &arguments = *tensor.items[1], &storage = item(where, arguments, 0);
  expect(tensor.items[0]->text == kRebuildTensor || tensor.items[0]->text == kRebuildOldTensor, where, tensor);
  expect(storage.kind == Kind::persistent, where, storage);
  const auto& key = text(where, item(where, *storage.items[0], 2));
  const Entry entry{&storages_.find(key)->second, integer(where, item(where, arguments, 1)),
                    sizes(where, item(where, arguments, 2)), sizes(where, item(where, arguments, 3))};
  check_inside(where, entry);
  return entry;
}

// Neither does the tensor reach beyond its storage, nor is it larger: strides of zero would make much out of nothing.
void TorchFile::check_inside(const std::string& where, const Entry& e) const {
  check(e.strides.rank() == e.shape.rank(), "{}: shape {}, strides {}", where, to_string(e.shape),
        to_string(e.strides));
  int64_t numel = 1, last = e.offset, reach = 0;
  bool fits = e.offset >= 0;
  for (int i = 0; i < e.shape.rank(); ++i) {
    fits = fits && !__builtin_mul_overflow(numel, e.shape[i], &numel);
    if (e.shape[i] == 0) continue;
    fits = fits && !__builtin_mul_overflow(e.shape[i] - 1, e.strides[i], &reach);
    fits = fits && !__builtin_add_overflow(last, reach, &last);
  }
  fits = fits && numel <= e.storage->numel && (numel == 0 || last < e.storage->numel);
  check(fits, "{}: shape {}, strides {}, offset {} in a storage of {} elements", where, to_string(e.shape),
        to_string(e.strides), e.offset, e.storage->numel);
}

std::vector<std::string> TorchFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const TorchFile::Entry& TorchFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{} is not there", tensor_in_file(path_, name));
  return found->second;
}

std::span<const std::byte> TorchFile::elements_of(const Storage& storage, std::vector<std::byte>& unpacked) const {
  if (storage.packed) return archive_->read(*storage.packed, unpacked);
  return file_.bytes().subspan(storage.begin, storage.bytes());
}

Tensor TorchFile::load(const std::string& name) const {
  const Entry& e = entry(name);
  std::vector<std::byte> unpacked;
  const auto elements = elements_of(*e.storage, unpacked);
  Tensor loaded(e.shape, e.storage->dtype);
  if (loaded.numel() == 0) return loaded;
  const std::byte* begin = elements.data() + e.offset * size_of(loaded.dtype());
  if (is_contiguous(e.shape, e.strides))
    std::memcpy(loaded.mutable_bytes(), begin, loaded.nbytes());
  else
    gather(loaded, begin, e.strides);
  file_.release(elements);
  return loaded;
}

}  // namespace stipple
