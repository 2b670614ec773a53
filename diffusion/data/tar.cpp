#include "diffusion/data/tar.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "diffusion/data/gzip.h"
#include "tensor/error.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 512;
using Header = std::array<char, kBlock>;

std::string text(const Header& header, size_t at, size_t size) {
  const char* begin = header.data() + at;
  return {begin, std::find(begin, begin + size, '\0')};
}

uint64_t octal(const Header& header, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = at; i < at + size; ++i)
    if (header[i] >= '0' && header[i] <= '7') value = value * 8 + static_cast<uint64_t>(header[i] - '0');
  return value;
}

// The sum of the header's bytes, its own field counted as blanks.
uint64_t checksum(const Header& header) {
  uint64_t sum = 8 * ' ';
  for (size_t i = 0; i < kBlock; ++i)
    if (i < 148 || i >= 156) sum += static_cast<unsigned char>(header[i]);
  return sum;
}

bool is_blank(const Header& header) {
  return std::all_of(header.begin(), header.end(), [](char c) { return c == 0; });
}

struct Entry {
  fs::path name;
  uint64_t size;
  char type;  // '0' or 0: file; '5': folder; 'x', 'g': remarks
};

Entry parse(const Header& header, const std::string& archive) {
  check(checksum(header) == octal(header, 148, 8), "{}: is no tar archive, or damaged", archive);
  const bool ustar = text(header, 257, 5) == "ustar" && header[262] == '\0';
  const fs::path prefix = ustar ? text(header, 345, 155) : "";
  return {prefix / text(header, 0, 100), octal(header, 124, 12), header[156]};
}

void check_stays_inside(const fs::path& name, const std::string& archive) {
  const bool upwards = std::find(name.begin(), name.end(), "..") != name.end();
  check(!name.empty() && name.is_relative() && !upwards, "{}: its entry `{}` leads out of the folder", archive,
        name.string());
}

// Hands on the bytes of an entry and passes over the padding behind them.
template <typename Sink>
void read_content(GzipReader& tar, uint64_t size, const std::string& archive, Sink&& sink) {
  std::vector<char> piece(1 << 16);
  for (uint64_t left = (size + kBlock - 1) / kBlock * kBlock, wanted = size; left > 0;) {
    const size_t count = std::min<uint64_t>(left, piece.size());
    check(tar.read(std::as_writable_bytes(std::span(piece).first(count))) == count, "{}: the archive is cut off",
          archive);
    sink(piece.data(), static_cast<std::streamsize>(std::min<uint64_t>(wanted, count)));
    wanted -= std::min<uint64_t>(wanted, count);
    left -= count;
  }
}

void write_content(GzipReader& tar, const Entry& entry, const fs::path& path, const std::string& archive) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  read_content(tar, entry.size, archive, [&](const char* bytes, std::streamsize size) { file.write(bytes, size); });
  file.close();
  check(!file.fail(), "{}: cannot be written", path.string());
}

void unpack_entry(GzipReader& tar, const Entry& entry, const fs::path& folder, const std::string& archive) {
  switch (entry.type) {
    case '0':
    case '\0':
      check_stays_inside(entry.name, archive);
      return write_content(tar, entry, folder / entry.name, archive);
    case '5':
    case 'x':
    case 'g':
      return read_content(tar, entry.size, archive, [](const char*, std::streamsize) {});
  }
  fail("{}: its entry `{}` is of type `{}`; files and folders are unpacked", archive, entry.name.string(), entry.type);
}

}  // namespace

void unpack_tar(const std::string& archive, const fs::path& folder, const std::function<bool()>& cancelled) {
  GzipReader tar(archive);
  for (Header header;;) {
    check(tar.read(std::as_writable_bytes(std::span(header))) == kBlock, "{}: the archive is cut off", archive);
    if (is_blank(header)) return;
    check(!cancelled || !cancelled(), "{}: unpacking was interrupted", archive);
    unpack_entry(tar, parse(header, archive), folder, archive);
  }
}

}  // namespace stipple
