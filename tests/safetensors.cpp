#include "tensor/safetensors.h"

#include <cstring>

#include "tensor/layout.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/scratch_folder.h"

namespace stipple {
namespace {

// A file with this header, padded as it is, and this many bytes of elements.
std::string file_with(const std::string& header, size_t elements = 0) {
  const uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + std::string(elements, '\0');
}

// A file of one tensor, and what the header says of it.
std::string tensor_with(const std::string& members, size_t elements = 24) {
  return file_with("{\"w\":{" + members + "}}", elements);
}

void check_rejected(const std::string& bytes, const std::string& reason) {
  const ScratchFolder folder;
  const std::string path = folder / "bad.safetensors";
  write_file_atomically(path, bytes);
  INFO(reason);
  CHECK_THROWS_WITH(SafetensorsFile(path), Contains(path) && Contains(reason) && !Contains("\n"));
}

const std::string kFixture = STIPPLE_FIXTURES "/safetensors_python.safetensors";

}  // namespace

TEST_CASE("a file of the reference implementation is read", "[safetensors]") {
  const SafetensorsFile file(kFixture);
  CHECK(file.names().size() == 9);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(file.shape("f32") == Shape{2, 3});
  CHECK(file.dtype("bf16") == Dtype::bf16);
  CHECK(file.load("f32").to_vector<float>() == std::vector{0.f, .25f, .5f, .75f, 1.f, 1.25f});
  CHECK(file.load("f64").to_vector<double>() == std::vector{0.1, -2.5});
  CHECK(file.load("bf16").to(Dtype::f32).to_vector<float>() == std::vector{1.f, -0.5f, 3.140625f});
  CHECK(file.load("i64").to_vector<int64_t>() == std::vector{int64_t{-1}, int64_t{1} << 40});
  CHECK(file.load("i32").to_vector<int32_t>() == std::vector{7, -8, 9});
  CHECK(file.load("u8").to_vector<uint8_t>() == std::vector<uint8_t>{0, 128, 255});
  CHECK(file.load("scalar").item<float>() == 3.5f);
  CHECK(file.load("empty").shape() == Shape{0, 4});
  CHECK(file.contains("a \"quoted\" näme"));
  CHECK_FALSE(file.contains("__metadata__"));
  CHECK_THROWS_WITH(file.load("absent"), kFixture + ": tensor \"absent\" is not there");
}

TEST_CASE("tensors are read straight to where they belong, from wherever they lie in the file", "[safetensors]") {
  const ScratchFolder folder;
  const std::string path = folder / "odd.safetensors", begin = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,40,3,3],";
  std::string bytes = file_with(begin + "\"data_offsets\":[0,2880]}}", 2880);
  if (bytes.size() % 4 == 0) bytes = file_with(begin + " \"data_offsets\":[0,2880]}}", 2880);
  const size_t elements = bytes.size() - 2880;
  REQUIRE(elements % 4 != 0);
  for (int i = 0; i < 720; ++i) {
    const auto value = static_cast<float>(i);
    std::memcpy(bytes.data() + elements + 4 * i, &value, 4);
  }
  write_file_atomically(path, bytes);
  const SafetensorsFile file(path);
  const Tensor loaded = file.load("w"), same({2, 40, 3, 3}), last({2, 3, 3, 40}), wide({2, 3, 3, 40}, Dtype::f64);
  file.load_into(same, "w", false);
  CHECK(same_bits(same, loaded));
  file.load_into(last, "w", true);
  CHECK(same_bits(last, to_channels_last(loaded)));
  file.load_into(wide, "w", true);
  CHECK(same_bits(wide, to_channels_last(loaded).to(Dtype::f64)));
  CHECK_THROWS_WITH(file.load_into(Tensor({3}), "w", false), Contains("[2,40,3,3] into f32[3]"));
}

TEST_CASE("a file is written as the reference implementation writes it", "[safetensors]") {
  const ScratchFolder folder;
  const SafetensorsFile file(kFixture);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.load(name));
  save_safetensors(folder / "copy", tensors, file.metadata());
  CHECK(read_file(folder / "copy") == read_file(kFixture));
}

TEST_CASE("views are saved with their own elements only", "[safetensors]") {
  const ScratchFolder folder;
  const Tensor whole = Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  save_safetensors(folder / "view", {{"row", whole[1]}});
  CHECK(SafetensorsFile(folder / "view").load("row").to_vector<float>() == std::vector{3.f, 4.f});
}

TEST_CASE("a file without tensors is a file", "[safetensors]") {
  const ScratchFolder folder;
  save_safetensors(folder / "empty", {}, {{"two\nlines", "\"\\"}});
  const SafetensorsFile file(folder / "empty");
  CHECK(file.names().empty());
  CHECK(file.metadata().at("two\nlines") == "\"\\");
  CHECK(read_file(folder / "empty").size() % 8 == 0);
}

TEST_CASE("what cannot be saved is an error, and no file", "[safetensors]") {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  const Tensor x = Tensor::zeros({2});
  CHECK_THROWS_WITH(save_safetensors(path, {{"x", x}, {"x", x}}), Contains("\"x\"") && Contains("twice"));
  CHECK_THROWS_WITH(save_safetensors(path, {{"x", Tensor()}}), Contains("\"x\"") && Contains("undefined"));
  CHECK_THROWS_WITH(save_safetensors(path, {{"__metadata__", x}}), Contains("__metadata__"));
  CHECK_THROWS_WITH(save_safetensors(path, {{"\xff", x}}), Contains("UTF-8"));
  CHECK_THROWS_WITH(save_safetensors(path, {{"x", x}}, {{"key", "\xff"}}), Contains("UTF-8"));
  CHECK(folder.count() == 0);
}

TEST_CASE("a header that lies about itself is rejected", "[safetensors]") {
  check_rejected("", "0 bytes");
  check_rejected("1234567", "7 bytes");
  check_rejected(file_with("{}").substr(0, 9), "a header of 2 bytes in a file of 9");
  check_rejected(std::string(16, '\xff'), "100000000 at most");
  check_rejected(file_with(""), "no JSON object");
  check_rejected(file_with("[]"), "no JSON object");
  check_rejected(file_with(" {}"), "no JSON object");
  check_rejected(file_with("{\"w\":"), "no valid JSON");
  check_rejected(file_with("{} x"), "no valid JSON");
  check_rejected(file_with("{\"\xff\":1}"), "no valid JSON");
  check_rejected(file_with("{\"w\":" + std::string(1000000, '[')), "nested too deeply");
}

TEST_CASE("names that stand twice are rejected", "[safetensors]") {
  const std::string entry = "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  check_rejected(file_with("{\"w\":" + entry + ",\"w\":" + entry + "}"), "\"w\" stands twice");
  check_rejected(file_with("{\"w\\n\":" + entry + ",\"w\\n\":" + entry + "}"), "\"w\\n\" stands twice");
  check_rejected(tensor_with("\"dtype\":\"U8\",\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]"),
                 "\"dtype\" stands twice");
}

TEST_CASE("metadata that is no text is rejected", "[safetensors]") {
  check_rejected(file_with("{\"__metadata__\":[]}"), "__metadata__ is no object");
  check_rejected(file_with("{\"__metadata__\":{\"step\":3}}"), "\"step\" is no text");
}

TEST_CASE("a tensor that lies about itself is rejected", "[safetensors]") {
  const auto with = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return tensor_with("\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
  };
  check_rejected(file_with("{\"w\":3}"), "tensor \"w\" is no object");
  check_rejected(tensor_with("\"dtype\":\"F32\",\"data_offsets\":[0,24]"), "tensor \"w\" has no shape");
  check_rejected(with("\"F8_E4M3\"", "[24]", "[0,24]"), "tensor \"w\" has dtype \"F8_E4M3\"");
  check_rejected(with("3", "[6]", "[0,24]"), "dtype is no text");
  check_rejected(with("\"F32\"", "6", "[0,24]"), "shape is no list");
  check_rejected(with("\"F32\"", "[-6]", "[0,24]"), "shape holds -6");
  check_rejected(with("\"F32\"", "[6.0]", "[0,24]"), "shape holds 6.0");
  check_rejected(with("\"F32\"", "[\"6\"]", "[0,24]"), "shape holds string");
  check_rejected(with("\"F32\"", "[1,1,1,1,1,1,6]", "[0,24]"), "7 dimensions");
  check_rejected(with("\"F32\"", "[18446744073709551616]", "[0,24]"), "shape holds");
  check_rejected(with("\"F32\"", "[9223372036854775808]", "[0,24]"), "shape holds 9223372036854775808");
  check_rejected(with("\"F32\"", "[9223372036854775807]", "[0,24]"), "too large");
  check_rejected(with("\"U8\"", "[4294967296,4294967296]", "[0,24]"), "too large");
  check_rejected(with("\"F32\"", "[5]", "[0,24]"), "f32[5] has 20 bytes, the file holds 24");
  check_rejected(with("\"F32\"", "[6]", "[0]"), "data_offsets are no pair");
  check_rejected(with("\"F32\"", "[6]", "[0,28]"), "bytes 0 to 28 of 24");
  check_rejected(with("\"F32\"", "[6]", "[24,0]"), "bytes 24 to 0 of 24");
  check_rejected(with("\"F32\"", "[6]", "[-4,20]"), "data_offsets holds -4");
}

TEST_CASE("bytes that belong to no tensor or to two are rejected", "[safetensors]") {
  const auto two = [](const std::string& first, const std::string& second) {
    const std::string begin = "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":";
    return file_with("{\"a\":" + begin + first + "},\"b\":" + begin + second + "}}", 8);
  };
  check_rejected(two("[0,4]", "[3,7]"), "tensor \"b\" begins at byte 3, the one before ends at 4");
  check_rejected(two("[4,8]", "[4,8]"), "tensor \"a\" begins at byte 4, the one before ends at 0");
  check_rejected(two("[0,4]", "[0,4]"), "tensor \"b\" begins at byte 0, the one before ends at 4");
  check_rejected(file_with("{}", 3), "3 bytes at its end belong to no tensor");
}

TEST_CASE("a full disk does not pass as a saved file", "[safetensors]") {
  CHECK_THROWS_WITH(save_safetensors("/dev/full", {{"w", Tensor::zeros({4})}}), Contains("No space left on device"));
}

}  // namespace stipple
