#include "tensor/zip.h"

#include <zlib.h>

#include <algorithm>

#include "tensor/bytes.h"
#include "tensor/error.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

using Bytes = std::span<const std::byte>;

constexpr size_t kEndBytes = 22, kDirectoryBytes = 46, kLocalBytes = 30;  // of the records' fixed parts
constexpr std::string_view kEnd{"PK\5\6"}, kDirectory{"PK\1\2"}, kLocal{"PK\3\4"};
constexpr size_t kLongestComment = 65535;
constexpr size_t kMostInflated = 1032;  // bytes that deflate makes of one

// Where the end-of-directory record begins, looked for from the end: only a comment may follow it.
size_t find_end(Bytes archive, const std::string& path) {
  const size_t last = archive.size() < kEndBytes ? 0 : archive.size() - kEndBytes;
  for (size_t back = 0; archive.size() >= kEndBytes && back <= std::min(last, kLongestComment); ++back) {
    const Bytes end = archive.subspan(last - back);
    if (starts_with(end, kEnd) && little16(end, 20) == back) return last - back;
  }
  fail("{}: the zip archive is cut off: it has no directory", path);
}

// Where the entry's bytes begin: behind its local header, whose name and extra field have lengths of their own.
size_t data_begin(Bytes archive, size_t local, size_t directory, const std::string& where) {
  check(local <= directory && directory - local >= kLocalBytes && starts_with(archive.subspan(local), kLocal),
        "{} is not at byte {}, where the directory says", where, local);
  const Bytes header = archive.subspan(local);
  return local + kLocalBytes + little16(header, 26) + little16(header, 28);
}

std::vector<std::byte> inflated(Bytes packed, size_t size, const std::string& path) {
  std::vector<std::byte> bytes(size + 1);  // room for what would be too much
  z_stream stream{};
  check(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "{}: zlib does not start", path);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = result == Z_STREAM_END && stream.total_out == size;
  inflateEnd(&stream);
  bytes.pop_back();
  check(whole, "{}: the zip archive is damaged: an entry does not unpack to {} bytes", path, size);
  return bytes;
}

}  // namespace

ZipArchive::ZipArchive(Bytes archive, std::string path) : archive_(archive), path_(std::move(path)) {
  const size_t end = find_end(archive, path_);
  const Bytes record = archive.subspan(end);
  const size_t count = little16(record, 10), bytes = little32(record, 12), begin = little32(record, 16);
  check(count != 0xFFFF && bytes != UINT32_MAX && begin != UINT32_MAX, "{}: is a zip64 archive, which is not read",
        path_);
  check(little16(record, 4) == 0 && little16(record, 8) == count, "{}: the zip archive lies on several disks", path_);
  check(begin <= end && bytes <= end - begin, "{}: the zip archive has a directory of {} bytes at byte {} of {}", path_,
        bytes, begin, archive.size());
  size_t at = begin;
  for (size_t i = 0; i < count; ++i) at = read_directory_entry(at, begin);
  check(at == begin + bytes, "{}: the zip archive's directory does not end where it should", path_);
  check_ranges(begin);
}

size_t ZipArchive::read_directory_entry(size_t at, size_t directory) {
  const Bytes record = archive_.subspan(at);
  check(record.size() >= kDirectoryBytes && starts_with(record, kDirectory),
        "{}: the zip archive's directory makes no sense at byte {}", path_, at);
  const size_t name_bytes = little16(record, 28);
  const size_t bytes = kDirectoryBytes + name_bytes + little16(record, 30) + little16(record, 32);
  check(bytes <= record.size(), "{}: the zip archive's directory is cut off", path_);
  const std::string name(reinterpret_cast<const char*>(record.data()) + kDirectoryBytes, name_bytes);
  const std::string where = fmt::format("{}: entry {}", path_, in_quotes(name));
  const uint32_t flags = little16(record, 8), method = little16(record, 10);
  check((flags & 1) == 0, "{} is encrypted", where);
  check(method == 0 || method == 8, "{} is packed by method {}; stored (0) and deflated (8) are read", where, method);
  Entry entry{method == 8, little32(record, 16), 0, little32(record, 20), little32(record, 24)};
  entry.begin = data_begin(archive_, little32(record, 42), directory, where);
  check(entry.begin <= directory && entry.packed_size <= directory - entry.begin, "{}: {} bytes at byte {} of {}",
        where, entry.packed_size, entry.begin, archive_.size());
  check(entry.deflated ? entry.size / kMostInflated <= entry.packed_size : entry.size == entry.packed_size,
        "{}: {} bytes out of {}", where, entry.size, entry.packed_size);
  check(entries_.emplace(name, entry).second, "{} is there twice", where);
  return at + bytes;
}

// Entries that share bytes unpack to more than the archive's size justifies.
void ZipArchive::check_ranges(size_t directory) const {
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const auto& [name, entry] : entries_) ranges.emplace_back(entry.begin, entry.begin + entry.packed_size);
  std::sort(ranges.begin(), ranges.end());
  ranges.emplace_back(directory, directory);
  for (size_t i = 1; i < ranges.size(); ++i)
    check(ranges[i - 1].second <= ranges[i].first, "{}: the zip archive has entries that overlap", path_);
}

const ZipArchive::Entry& ZipArchive::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  check(found != entries_.end(), "{}: the zip archive has no entry {}", path_, in_quotes(name));
  return found->second;
}

std::span<const std::byte> ZipArchive::read(const Entry& entry, std::vector<std::byte>& unpacked) const {
  Bytes bytes = archive_.subspan(entry.begin, entry.packed_size);
  if (entry.deflated)
    bytes = unpacked = inflated(bytes, entry.size, path_);
  else if (checked_.count(entry.begin))
    return bytes;
  const uint32_t crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  check(crc == entry.crc, "{}: the zip archive is damaged: wrong checksum of the {} bytes at byte {}", path_,
        entry.size, entry.begin);
  if (!entry.deflated) checked_.insert(entry.begin);
  return bytes;
}

}  // namespace stipple
