#include "tensor/torch_file.h"

#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/scratch_folder.h"

// Against files that torch.save wrote (tests/reference/torch_files.py), and files that were damaged on purpose.

namespace stipple {
namespace {

using namespace std::string_literals;

std::string fixture(const std::string& name) { return STIPPLE_FIXTURES "/torch/" + name; }

void check_rejected(const std::string& path, const std::string& reason) {
  INFO(reason);
  CHECK_THROWS_WITH(TorchFile(path), Contains(path) && Contains(reason) && !Contains("\n"));
}

void check_bytes_rejected(const std::string& bytes, const std::string& reason) {
  const ScratchFolder folder;
  write_file_atomically(folder / "bad.bin", bytes);
  check_rejected(folder / "bad.bin", reason);
}

std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  const size_t at = bytes.find(from);
  REQUIRE(at != std::string::npos);
  return bytes.replace(at, from.size(), to);
}

// A stream of torch.save up to the state dict, which is this pickle.
std::string stream_of(const std::string& state_dict) {
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02"s + state_dict +
         "\x80\x02]."s;
}

const std::string kStorage = "ctorch\nFloatStorage\n", kRebuild = "ctorch._utils\n_rebuild_tensor_v2\n";

}  // namespace

TEST_CASE("files of torch.save are read: archives, packed archives, streams", "[torch_file]") {
  const auto known = nlohmann::json::parse(read_file(fixture("values.json")));
  for (const char* name : {"zip.bin", "deflated.bin", "protocol4.bin", "stream.bin"}) {
    INFO(name);
    const auto file = open_tensor_file(fixture(name));
    CHECK(file->names().size() == known.size());
    for (const auto& [tensor, expected] : known.items()) {
      INFO(tensor);
      const auto shape = expected["shape"].get<std::vector<int64_t>>();
      CHECK(name_of(file->dtype(tensor)) == expected["dtype"].get<std::string>());
      CHECK(file->shape(tensor) == Shape(shape.begin(), shape.end()));
      CHECK(file->load(tensor).to(Dtype::f64).to_vector<double>() == expected["values"].get<std::vector<double>>());
    }
    CHECK_THROWS_WITH(file->load("absent"), Contains("\"absent\" is not there"));
  }
}

TEST_CASE("a pickle that asks for more than tensors is refused by the name it asks for", "[torch_file]") {
  check_rejected(fixture("harmful.bin"), "\"posix.system\", which is refused");
  check_rejected(fixture("harmful_pickle.bin"), "\"posix.system\", which is refused");
  check_rejected(fixture("module.bin"), "\"torch.nn.modules.linear.Linear\", which is refused");
  check_rejected(fixture("bool.bin"), "\"torch.BoolStorage\", which is refused");
  check_bytes_rejected(stream_of("\x8c\x02os\x8c\x06system\x93."s), "\"os.system\", which is refused");
}

TEST_CASE("what is no dictionary of tensors is refused", "[torch_file]") {
  check_rejected(fixture("nested.bin"), "under the name \"state_dict\" is no tensor");
  check_bytes_rejected(stream_of("]."), "no state dict");
  check_bytes_rejected(stream_of("}K\1K\2s."), "no state dict");
  check_bytes_rejected(stream_of("}X\1\0\0\0wK\2s."s), "under the name \"w\" is no tensor");
  check_bytes_rejected(stream_of("}X\1\0\0\0w"s + kRebuild + ")Rs."s), "no state dict");
  check_bytes_rejected(stream_of("}X\1\0\0\0w"s + kStorage + ")Rs."s), "no state dict");
  check_bytes_rejected("", "cut off after 0 bytes");
  check_bytes_rejected("\x80\x02}.", "no state dict");
}

TEST_CASE("a tensor may not be larger than what the file holds of it", "[torch_file]") {
  check_rejected(fixture("expanded.bin"), "shape [1099511627776], strides [0], offset 0 in a storage of 1 elements");
}

TEST_CASE("a pickle that makes no sense is an error", "[torch_file]") {
  check_bytes_rejected(stream_of("R."), "takes from an empty stack");
  check_bytes_rejected(stream_of("]("s + "R."), "takes from an empty stack");
  check_bytes_rejected(stream_of("t."), "misses a mark");
  check_bytes_rejected(stream_of("h\7."), "recalls value 7");
  check_bytes_rejected(stream_of("N)R."), "calls what cannot be called");
  check_bytes_rejected(stream_of("]}b."), "gives attributes");
  check_bytes_rejected(stream_of("]NNs."), "makes no sense");
  check_bytes_rejected(stream_of("I1\n."), "opcode 0x49");
  check_bytes_rejected(stream_of("\x80\x09}."), "pickle protocol 9");
  check_bytes_rejected(stream_of("X\xff\xff\xff\xff"s), "cut off");
}

TEST_CASE("lists in lists in lists do not exhaust the stack", "[torch_file]") {
  check_bytes_rejected(stream_of(std::string(1'000'000, ']') + std::string(999'999, 'a') + "."), "no state dict");
}

TEST_CASE("an archive that was cut off or changed anywhere is an error, or what was changed means nothing",
          "[torch_file]") {
  const ScratchFolder folder;
  const std::string path = folder / "bad.bin", whole = read_file(fixture("deflated.bin"));
  const auto read_all = [&](const std::string& bytes) {
    write_file_atomically(path, bytes);
    const TorchFile file(path);
    for (const std::string& name : file.names()) file.load(name);
  };
  for (size_t size = 0; size < whole.size(); size += 7) CHECK_THROWS_AS(read_all(whole.substr(0, size)), Error);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] ^= 0x55;
    try {
      read_all(bytes);
    } catch (const Error&) {}
  }
}

TEST_CASE("an element that was changed shows in the checksum", "[torch_file]") {
  const ScratchFolder folder;
  const std::string bytes = read_file(fixture("zip.bin"));
  write_file_atomically(folder / "bad.bin", replaced(bytes, "\x00\x00\xc0\x3f\x00\x00\x00\xc0"s, "\1\1\1\1\1\1\1\1"));
  const TorchFile file(folder / "bad.bin");
  CHECK_THROWS_WITH(file.load("parameter"), Contains("wrong checksum"));
  CHECK(file.load("scalar").item<float>() == 3.5f);
}

TEST_CASE("a zip archive that lies is rejected", "[torch_file]") {
  const std::string bytes = read_file(fixture("zip.bin"));
  const auto with_directory_byte = [&](size_t offset, char value) {
    std::string changed = bytes;
    changed[bytes.find("PK\1\2") + offset] = value;
    return changed;
  };
  check_bytes_rejected("PK", "has no directory");
  check_bytes_rejected(with_directory_byte(8, 1), "is encrypted");
  check_bytes_rejected(with_directory_byte(10, 9), "packed by method 9");
  check_bytes_rejected(with_directory_byte(23, 1), "bytes at byte");
  check_bytes_rejected(with_directory_byte(27, 1), "bytes out of");
  check_bytes_rejected(with_directory_byte(45, 1), "where the directory says");
  check_bytes_rejected(with_directory_byte(0, 'X'), "makes no sense");
}

}  // namespace stipple
