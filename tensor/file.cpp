#include "tensor/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "tensor/error.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_with_reason(const char* what, const std::string& path, int reason = errno) {
  fail("cannot {} {}: {}", what, path, std::strerror(reason));
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

std::string folder_of(const std::string& path) {
  fs::path folder(path);
  if (!folder.has_filename()) folder = folder.parent_path();  // "out/" lies where "out" lies
  folder = folder.parent_path();
  return folder.empty() ? "." : folder.string();
}

// The descriptor that /dev/stdout, /dev/stderr and /dev/fd/N stand for, -1 for other paths. To open such a path would
// begin the file behind it anew, over what was written before.
int standing_descriptor(const std::string& path) {
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  int number = -1, end = 0;
  return std::sscanf(path.c_str(), "/dev/fd/%d%n", &number, &end) == 1 && size_t(end) == path.size() ? number : -1;
}

// Pipes and devices cannot be synced, and some file systems not either: EINVAL and ENOTSUP are no errors.
bool sync(int descriptor) { return ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP; }

void sync_path(const std::string& path) {
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor < 0 || !sync(descriptor)) fail_with_reason("sync", path);
}

// Makes a renaming last. A folder that may be written but not read cannot be synced.
void sync_folder_of(const std::string& path) {
  if (::access(folder_of(path).c_str(), R_OK) == 0) sync_path(folder_of(path));
}

struct stat status_of(const std::string& path, int descriptor) {
  struct stat status;
  if (::fstat(descriptor, &status) != 0) fail_with_reason("read", path);
  if (S_ISDIR(status.st_mode)) fail_with_reason("read", path, EISDIR);
  return status;
}

}  // namespace

bool lies_in(const std::string& path, const std::string& folder) {
  const fs::path inside = fs::weakly_canonical(fs::absolute(path)).lexically_relative(fs::canonical(folder));
  return !inside.empty() && *inside.begin() != "..";
}

std::string temporary_beside(const std::string& target) {
  static std::atomic<int> count = 0;
  return fmt::format("{}/.stipple-{}-{}.tmp", folder_of(target), ::getpid(), count++);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {
  struct stat status;
  if (const int standing = standing_descriptor(path_); standing >= 0)
    descriptor_ = ::dup(standing);
  else if (::stat(path_.c_str(), &status) == 0)
    open_existing(status.st_mode);
  else
    open_temporary();
  if (descriptor_ < 0) fail_to_write();
}

void AtomicFile::open_existing(unsigned mode) {
  if (!S_ISREG(mode)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);  // of a folder: EISDIR
    return;
  }
  target_ = fs::canonical(path_).string();
  if (::access(target_.c_str(), W_OK) != 0) return;
  open_temporary();
  if (descriptor_ >= 0) ::fchmod(descriptor_, mode & 07777);
}

void AtomicFile::open_temporary() {
  const std::string name = temporary_beside(target_);
  descriptor_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool nowhere = descriptor_ < 0 && errno == ENOENT && !fs::is_directory(folder_of(target_));
  check(!nowhere, "cannot write {}: there is no folder {}", path_, folder_of(target_));
  if (descriptor_ >= 0) temporary_ = name;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_to_write() const { fail_with_reason("write", path_); }

void AtomicFile::write(std::string_view bytes) {
  check(descriptor_ >= 0, "cannot write {}: it is committed already", path_);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_to_write();
    bytes.remove_prefix(written);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "cannot write {}: it is committed already", path_);
  if (!sync(descriptor_)) fail_to_write();
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_to_write();
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_to_write();
  temporary_.clear();
  sync_folder_of(target_);
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::string read_file(const std::string& path) {
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor < 0) fail_with_reason("read", path);
  const size_t expected = status_of(path, descriptor).st_size;
  std::string text;
  for (size_t size = 0;;) {
    text.resize(std::max(size + 65536, expected + 1));
    const ssize_t got = ::read(descriptor, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with_reason("read", path);
    text.resize(size += got);
    if (got == 0) return text;
  }
}

MappedFile::MappedFile(const std::string& path) {
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor < 0) fail_with_reason("read", path);
  const struct stat status = status_of(path, descriptor);
  check(S_ISREG(status.st_mode), "cannot read {}: it is not a regular file", path);
  size_ = status.st_size;
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapped == MAP_FAILED) fail_with_reason("read", path);
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  const size_t page = ::sysconf(_SC_PAGESIZE);
  const size_t begin = part.data() - data_, first = (begin + page - 1) / page * page,
               last = (begin + part.size()) / page * page;
  if (part.data() >= data_ && begin + part.size() <= size_ && first < last)
    ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

// Where a folder stands already the two change places in one step, so that at every moment a whole one is there; a file
// system that cannot do that gets two steps.
void replace_folder(const std::string& temporary, const std::string& target) try {
  sync_path(temporary);
  for (const auto& entry : fs::recursive_directory_iterator(temporary)) sync_path(entry.path().string());
  if (!fs::exists(target)) {
    fs::rename(temporary, target);
    return sync_folder_of(target);
  }
  check(fs::is_directory(target), "cannot write {}: it is no folder", target);
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0) {
    const std::string aside = temporary_beside(target);
    fs::rename(target, aside);
    fs::rename(temporary, target);
    fs::rename(aside, temporary);
  }
  sync_folder_of(target);
  fs::remove_all(temporary);
} catch (const fs::filesystem_error& error) { fail("cannot write {}: {}", target, error.code().message()); }

}  // namespace stipple
