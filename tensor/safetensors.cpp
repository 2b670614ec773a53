#include "tensor/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "tensor/in_quotes.h"
#include "tensor/layout.h"

namespace stipple {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

using Json = nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr size_t kLongestHeader = 100'000'000;
constexpr int kDeepestHeader = 2;  // {"name": {"shape": [
constexpr const char* kMetadata = "__metadata__";

struct NamedDtype {
  Dtype dtype;
  const char* name;
};
// In the order in which the reference implementation writes them.
constexpr std::array<NamedDtype, 7> kDtypes{{{Dtype::i64, "I64"},
                                             {Dtype::f64, "F64"},
                                             {Dtype::f32, "F32"},
                                             {Dtype::i32, "I32"},
                                             {Dtype::bf16, "BF16"},
                                             {Dtype::f16, "F16"},
                                             {Dtype::u8, "U8"}}};

const NamedDtype& named(Dtype dtype) {
  return *std::find_if(kDtypes.begin(), kDtypes.end(), [=](const NamedDtype& d) { return d.dtype == dtype; });
}

// JSON lets a name stand twice, and lets arrays nest until memory is full: safetensors do not.
class HeaderGuard {
 public:
  explicit HeaderGuard(const std::string& path) : path_(path) {}

  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start)
      check(depth <= kDeepestHeader, "{}: the header is nested too deeply", path_);
    if (event == Event::object_start) names_[depth].clear();
    if (event == Event::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      check(names_[depth - 1].insert(name).second, "{}: {} stands twice in the header", path_, in_quotes(name));
    }
    return true;
  }

 private:
  const std::string& path_;
  std::array<std::set<std::string>, kDeepestHeader + 1> names_;  // of the objects being read, outermost first
};

struct Header {
  Json json;
  size_t end;  // where the elements begin
};

Header parse_header(const std::string& path, std::span<const std::byte> file) {
  check(file.size() >= kLengthBytes, "{}: {} bytes are no safetensors file", path, file.size());
  uint64_t length;
  std::memcpy(&length, file.data(), kLengthBytes);
  check(length <= kLongestHeader, "{}: a header of {} bytes, {} at most expected: this is no safetensors file", path,
        length, kLongestHeader);
  check(length <= file.size() - kLengthBytes, "{}: a header of {} bytes in a file of {}", path, length, file.size());
  const char* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  check(length > 0 && *text == '{', "{}: the header is no JSON object", path);
  try {
    return {Json::parse(text, text + length, HeaderGuard(path)), kLengthBytes + length};
  } catch (const Json::exception&) { fail("{}: the header is no valid JSON", path); }
}

// `where` names file and tensor in what follows.

const Json& member(const std::string& where, const Json& tensor, const char* name) {
  const auto found = tensor.find(name);
  check(found != tensor.end(), "{} has no {}", where, name);
  return *found;
}

int64_t read_size(const std::string& where, const char* what, const Json& value) {
  const std::string shown = value.is_number() ? value.dump() : value.type_name();
  check(value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX, "{}: {} holds {}, a size expected", where,
        what, shown);
  return value.get<int64_t>();
}

Dtype read_dtype(const std::string& where, const Json& value) {
  check(value.is_string(), "{}: dtype is no text", where);
  const auto& name = value.get_ref<const std::string&>();
  for (const NamedDtype& d : kDtypes)
    if (name == d.name) return d.dtype;
  fail("{} has dtype {}; I64, F64, F32, I32, BF16, F16 and U8 can be read", where, in_quotes(name));
}

Shape read_shape(const std::string& where, const Json& value) {
  check(value.is_array(), "{}: shape is no list", where);
  check(value.size() <= Shape::kMaxRank, "{} has {} dimensions, {} at most can be read", where, value.size(),
        Shape::kMaxRank);
  Shape shape;
  for (const Json& dim : value) shape.push_back(read_size(where, "shape", dim));
  return shape;
}

// Of shape and dtype, checked before anything multiplies them unchecked.
int64_t byte_count(const std::string& where, const Shape& shape, Dtype dtype) {
  int64_t bytes = 1;
  bool fits = true;
  for (int64_t d : shape) fits = fits && !__builtin_mul_overflow(bytes, d, &bytes);
  fits = fits && !__builtin_mul_overflow(bytes, size_of(dtype), &bytes);
  check(fits, "{}: shape {} is too large", where, to_string(shape));
  return bytes;
}

std::map<std::string, std::string> read_metadata(const std::string& path, const Json& object) {
  check(object.is_object(), "{}: {} is no object", path, kMetadata);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : object.items()) {
    check(value.is_string(), "{}: {} {} is no text", path, kMetadata, in_quotes(key));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

SafetensorsFile::Entry read_entry(const std::string& where, const Json& value, size_t elements_begin,
                                  size_t file_size) {
  check(value.is_object(), "{} is no object", where);
  const Json& offsets = member(where, value, "data_offsets");
  check(offsets.is_array() && offsets.size() == 2, "{}: data_offsets are no pair", where);
  const int64_t begin = read_size(where, "data_offsets", offsets[0]),
                end = read_size(where, "data_offsets", offsets[1]);
  const int64_t available = file_size - elements_begin;
  check(begin <= end && end <= available, "{}: bytes {} to {} of {}", where, begin, end, available);
  const Dtype dtype = read_dtype(where, member(where, value, "dtype"));
  const Shape shape = read_shape(where, member(where, value, "shape"));
  const int64_t bytes = byte_count(where, shape, dtype);
  check(bytes == end - begin, "{}: {}{} has {} bytes, the file holds {}", where, name_of(dtype), to_string(shape),
        bytes, end - begin);
  return {dtype, shape, elements_begin + begin, elements_begin + end};
}

// Every byte after the header belongs to one tensor.
void check_ranges(const std::string& path, const std::map<std::string, SafetensorsFile::Entry>& entries, size_t begin,
                  size_t file_size) {
  std::vector<std::pair<const std::string*, const SafetensorsFile::Entry*>> ordered;
  for (const auto& [name, entry] : entries) ordered.emplace_back(&name, &entry);
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  size_t taken = begin;
  for (const auto& [name, entry] : ordered) {
    check(entry->begin == taken, "{} begins at byte {}, the one before ends at {}", tensor_in_file(path, *name),
          entry->begin - begin, taken - begin);
    taken = entry->end;
  }
  check(taken == file_size, "{}: {} bytes at its end belong to no tensor", path, file_size - taken);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path)
    : TensorFile(path), file_(std::make_shared<MappedFile>(path)) {
  check_fetched(file_->bytes());
  const Header header = parse_header(path, file_->bytes());
  for (const auto& [name, value] : header.json.items()) {
    if (name == kMetadata)
      metadata_ = read_metadata(path, value);
    else
      entries_.emplace(name, read_entry(tensor_in_file(path, name), value, header.end, file_->size()));
  }
  check_ranges(path, entries_, header.end, file_->size());
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{} is not there", tensor_in_file(path_, name));
  return found->second;
}

std::span<const std::byte> SafetensorsFile::elements(const Entry& e) const {
  return file_->bytes().subspan(e.begin, e.end - e.begin);
}

Tensor SafetensorsFile::load(const std::string& name) const {
  const Entry& e = entry(name);
  const auto from = elements(e);
  Tensor loaded(e.shape, e.dtype);
  std::copy(from.begin(), from.end(), loaded.mutable_bytes());
  file_->release(from);
  return loaded;
}

// Straight from the file's pages, which are given back behind it.
void SafetensorsFile::load_into(const Tensor& to, const std::string& name, bool channels_last) const {
  const Entry& e = entry(name);
  if (e.dtype != to.dtype() || to.device() != Device::cpu) return TensorFile::load_into(to, name, channels_last);
  check(to.numel() == e.shape.numel(), "{}: {} into {}", tensor_in_file(path_, name), to_string(e.shape), describe(to));
  const auto from = elements(e);
  if (channels_last)
    read_channels_first(to, from.data());
  else
    std::copy(from.begin(), from.end(), to.mutable_bytes());
  file_->release(from);
}

namespace {

using NamedTensor = std::pair<std::string, Tensor>;

void check_can_be_saved(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::set<std::string> names{kMetadata};
  for (const auto& [name, tensor] : tensors) {
    check(names.insert(name).second, "{}: this name was given twice", tensor_in_file(path, name));
    check(tensor.defined() && tensor.device() == Device::cpu, "{}: a tensor on the CPU expected, got {}",
          tensor_in_file(path, name), tensor.defined() ? name_of(tensor.device()) : describe(tensor));
  }
}

std::vector<const NamedTensor*> in_reference_order(const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> ordered;
  for (const NamedTensor& t : tensors) ordered.push_back(&t);
  std::sort(ordered.begin(), ordered.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const NamedDtype *first = &named(a->second.dtype()), *second = &named(b->second.dtype());
    return std::tie(first, a->first) < std::tie(second, b->first);
  });
  return ordered;
}

std::string header_text(const std::vector<const NamedTensor*>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string members = metadata.empty() ? "" : fmt::format("\"{}\":{}", kMetadata, Json(metadata).dump());
  size_t begin = 0;
  for (const auto* entry : tensors) {
    const auto& [name, tensor] = *entry;
    members += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                           members.empty() ? "" : ",", Json(name).dump(), named(tensor.dtype()).name,
                           to_string(tensor.shape()), begin, begin + tensor.nbytes());
    begin += tensor.nbytes();
  }
  std::string text = "{" + members + "}";
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  return text;
}

}  // namespace

void save_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  check_can_be_saved(path, tensors);
  const auto ordered = in_reference_order(tensors);
  std::string header;
  try {
    header = header_text(ordered, metadata);
  } catch (const Json::exception&) { fail("{}: a name or a text of the metadata is no UTF-8", path); }
  const uint64_t length = header.size();
  check(length <= kLongestHeader, "{}: the header would have {} bytes, {} at most expected", path, length,
        kLongestHeader);
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const NamedTensor* t : ordered) file.write({t->second.bytes(), t->second.nbytes()});
  file.commit();
}

}  // namespace stipple
