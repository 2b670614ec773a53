#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

// Files that are either whole or not there. Every error names the path and the system's reason.

namespace stipple {

// Writes to a temporary name beside the target; commit() syncs it to the disk and renames it over the target. Without
// commit() the target stays as it was. A target that exists and is no regular file (/dev/stdout, a pipe) is written
// directly. A missing parent folder is an error.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();  // removes what was not committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  void open_existing(unsigned mode);
  void open_temporary();
  [[noreturn]] void fail_to_write() const;

  std::string path_;
  std::string target_;     // path_ with its symbolic links followed
  std::string temporary_;  // empty: written directly
  int descriptor_ = -1;
};

void write_file_atomically(const std::string& path, std::string_view bytes);

std::string read_file(const std::string& path);  // a pipe will do

// A regular file, read-only in memory; its pages are read when they are touched.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }

  // Gives back the memory of the pages that lie in this part of it whole: they are read again when they are touched.
  void release(std::span<const std::byte> part) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A hidden name in the target's folder that nothing bears yet, for a file or folder that will be renamed to the target.
std::string temporary_beside(const std::string& target);

// Whether a path is this folder or below it, links followed; only the folder need be there.
bool lies_in(const std::string& path, const std::string& folder);

// Syncs a folder of files to the disk, then renames it to the target; what stood there is removed afterwards.
void replace_folder(const std::string& temporary, const std::string& target);

}  // namespace stipple
