#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace stipple {

// The entries of a zip archive in memory (PKWARE APPNOTE.TXT 6.3, section 4.3), stored or deflated. Errors name the
// archive: archives beyond 4 GiB (zip64), of several disks or encrypted, lying sizes, entries that overlap, wrong
// checksums.
class ZipArchive {
 public:
  struct Entry {
    bool deflated;
    uint32_t crc;
    size_t begin, packed_size;  // its bytes in the archive
    size_t size;                // when unpacked
  };

  ZipArchive(std::span<const std::byte> archive, std::string path);  // reads the directory only

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const Entry& entry(const std::string& name) const;

  // The bytes of an entry, its checksum compared the first time. They lie in the archive itself, or in `unpacked` where
  // the entry is deflated.
  std::span<const std::byte> read(const Entry&, std::vector<std::byte>& unpacked) const;

 private:
  size_t read_directory_entry(size_t at, size_t directory);
  void check_ranges(size_t directory) const;

  std::span<const std::byte> archive_;
  std::string path_;
  std::map<std::string, Entry> entries_;
  mutable std::set<size_t> checked_;  // beginnings of stored entries
};

}  // namespace stipple
