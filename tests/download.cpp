// Downloads from file:// addresses, which libcurl resumes like others; SHA-256; tar archives.
#include "diffusion/data/download.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "diffusion/data/sha256.h"
#include "diffusion/data/tar.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tests/catch.h"
#include "tests/scratch_folder.h"

using namespace stipple;

namespace {

namespace fs = std::filesystem;

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string letters(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text.push_back(static_cast<char>('a' + i * i % 26));
  return text;
}

RemoteFile remote(const std::string& name, const std::string& content, std::vector<std::string> addresses) {
  return {name, static_cast<int64_t>(content.size()), sha256(content), std::move(addresses)};
}

template <typename F>
std::string failure(F&& f) {
  try {
    f();
  } catch (const Error& error) { return error.what(); }
  return "";
}

// One entry of a tar archive.
std::string entry(const std::string& name, const std::string& content, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) {
    std::copy(text.begin(), text.end(), header.begin() + at);
  };
  put(0, name);
  put(124, fmt::format("{:011o}", content.size()));
  put(148, "        ");
  header[156] = type;
  put(257, std::string("ustar\0", 6));
  uint64_t sum = 0;
  for (unsigned char c : header) sum += c;
  put(148, fmt::format("{:06o}", sum) + '\0');
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

const std::string kEndOfTar(1024, '\0');

}  // namespace

TEST_CASE("SHA-256 gives the digests of FIPS 180-4", "[download]") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the bytes come", "[download]") {
  const std::string text = letters(300);
  for (size_t size = 1; size < 130; ++size) {
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += size)
      hash.update(std::as_bytes(std::span(text)).subspan(at, std::min(size, text.size() - at)));
    CHECK(hash.hex() == sha256(text));
  }
}

TEST_CASE("A file is downloaded from the first address that has it", "[download]") {
  const ScratchFolder folder;
  const std::string content = letters(100'000);
  write(folder / "source", content);
  write(folder / "wrong", letters(99'999) + "!");
  write(folder / "long", content + "!");
  write(folder / "short", letters(1000));
  std::vector<std::string> addresses;
  for (const char* name : {"missing", "wrong", "long", "short", "source"})
    addresses.push_back("file://" + (folder / name));
  download(remote("file", content, addresses), folder.path());
  CHECK(read_file(folder / "file") == content);
  CHECK_FALSE(fs::exists(folder / "file.part"));
  addresses.pop_back();
  const std::string said = failure([&] { download(remote("other", content, addresses), folder.path()); });
  CHECK_THAT(said, Contains("other cannot be downloaded") && Contains("missing: ") && Contains("wrong: the SHA-256") &&
                       Contains("long: sends more than the 100000 bytes") && Contains("short: 1000 of 100000 bytes"));
  CHECK_FALSE(fs::exists(folder / "other"));
  CHECK_FALSE(fs::exists(folder / "other.part"));
  CHECK(said.find('\n') == std::string::npos);
}

TEST_CASE("A download goes on from its part, unless that holds something else", "[download]") {
  const ScratchFolder folder;
  const std::string content = letters(100'000);
  write(folder / "source", content);
  const RemoteFile file = remote("file", content, {"file://" + (folder / "source")});
  for (const std::string& part :
       {content.substr(0, 60'000), std::string(60'000, 'x'), content, content + "x", std::string(100'000, 'x')}) {
    write(folder / "file.part", part);
    download(file, folder.path());
    CHECK(read_file(folder / "file") == content);
    CHECK_FALSE(fs::exists(folder / "file.part"));
    fs::remove(folder / "file");
  }
}

TEST_CASE("A part survives addresses that are out of reach and interruptions", "[download]") {
  const ScratchFolder folder;
  const std::string content = letters(100'000);
  write(folder / "file.part", content.substr(0, 50'000));
  CHECK_FALSE(failure([&] { download(remote("file", content, {"file:///missing"}), folder.path()); }).empty());
  CHECK(fs::file_size(folder / "file.part") == 50'000);
  write(folder / "source", content);
  const RemoteFile file = remote("file", content, {"file://" + (folder / "source")});
  CHECK_THAT(failure([&] { download(file, folder.path(), {.cancelled = [] { return true; }}); }),
             Contains("interrupted"));
  CHECK(fs::file_size(folder / "file.part") >= 50'000);
  CHECK_FALSE(fs::exists(folder / "file"));
}

TEST_CASE("A right file is left alone and a wrong one replaced", "[download]") {
  const ScratchFolder folder;
  write(folder / "file", "right");
  download(remote("file", "right", {}), folder.path());
  write(folder / "source", "other");
  download(remote("file", "other", {"file://" + (folder / "source")}), folder.path());
  CHECK(read_file(folder / "file") == "other");
}

TEST_CASE("A data set's archive is unpacked whole and then removed", "[download]") {
  const ScratchFolder folder;
  const std::string archive = entry("set/", "", '5') + entry("set/a.bin", letters(700)) + kEndOfTar;
  write(folder / "source", archive);
  const RemoteDataset set{"set", {remote("set.tar", archive, {"file://" + (folder / "source")})}, "set"};
  CHECK(download_dataset(set, folder / "made") == fs::path(folder / "made"));
  CHECK(read_file(folder / "made/set/a.bin") == letters(700));
  CHECK(std::distance(fs::directory_iterator(folder / "made"), {}) == 1);
  fs::remove(folder / "source");
  download_dataset(set, folder / "made");  // nothing to do
  CHECK_THAT(failure([&] { download_dataset(set, folder / "no/where"); }), Contains("there is no folder"));
}

TEST_CASE("A data set that cannot be had leaves no folder behind", "[download]") {
  const ScratchFolder folder;
  const RemoteDataset set{"set", {remote("file", "content", {"file:///missing"})}, ""};
  CHECK_FALSE(failure([&] { download_dataset(set, folder / "set"); }).empty());
  CHECK_FALSE(failure([&] { download_dataset(set, folder / "set", {.cancelled = [] { return true; }}); }).empty());
  CHECK(fs::is_empty(folder.path()));
  fs::create_directory(folder / "mine");
  CHECK_FALSE(failure([&] { download_dataset(set, folder / "mine"); }).empty());
  CHECK(fs::exists(folder / "mine"));
}

TEST_CASE("tar archives that are damaged or lead elsewhere are refused", "[download]") {
  const ScratchFolder folder;
  const auto refusal = [&](const std::string& archive) {
    write(folder / "x.tar", archive);
    return failure([&] { unpack_tar(folder / "x.tar", folder.path()); });
  };
  CHECK(refusal(entry("a/b", "text") + entry("c", "") + kEndOfTar).empty());
  CHECK(read_file(folder / "a/b") == "text");
  CHECK_THAT(refusal(entry("../b", "text") + kEndOfTar), Contains("leads out of the folder"));
  CHECK_THAT(refusal(entry("/b", "text") + kEndOfTar), Contains("leads out of the folder"));
  CHECK_THAT(refusal(entry("b", "", '2') + kEndOfTar), Contains("of type `2`"));
  CHECK_THAT(refusal(entry("b", "text")), Contains("cut off"));
  CHECK_THAT(refusal(entry("b", "text").substr(0, 700)), Contains("cut off"));
  std::string damaged = entry("b", "text") + kEndOfTar;
  damaged[1] = 'x';
  CHECK_THAT(refusal(damaged), Contains("no tar archive, or damaged"));
}

TEST_CASE("Every published file has an address, a size and a digest", "[download]") {
  CHECK(remote_datasets().size() == 3);
  for (const RemoteDataset& set : remote_datasets())
    for (const RemoteFile& file : set.files) {
      CHECK(file.sha256.size() == 64);
      CHECK(file.bytes > 0);
      CHECK_FALSE(file.addresses.empty());
    }
  CHECK_THAT(failure([] { remote_dataset("imagenet"); }), Contains("mnist, fashion-mnist, cifar10"));
}
