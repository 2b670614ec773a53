#include "diffusion/data/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "diffusion/data/sha256.h"
#include "diffusion/data/tar.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

// NAME.part: opened for appending, and locked against a second download.
class PartFile {
 public:
  explicit PartFile(std::string path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    check(descriptor_ >= 0, "{}: cannot be written: {}", path_, std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    ::close(descriptor_);
    fail("{}: another download is writing it", path_);
  }
  ~PartFile() {  // a part of nothing is worth nothing
    if (size() == 0) ::unlink(path_.c_str());
    ::close(descriptor_);
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const std::string& path() const { return path_; }

  int64_t size() const {
    struct stat status {};
    return ::fstat(descriptor_, &status) == 0 ? status.st_size : -1;
  }

  bool append(const char* bytes, size_t size) {
    while (size > 0) {
      const ssize_t n = ::write(descriptor_, bytes, size);
      if (n < 0) return false;
      bytes += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  void clear() { check(::ftruncate(descriptor_, 0) == 0, "{}: {}", path_, std::strerror(errno)); }

  void move_to(const std::string& target) {
    check(::fsync(descriptor_) == 0, "{}: {}", path_, std::strerror(errno));
    fs::rename(path_, target);
  }

 private:
  std::string path_;
  int descriptor_;
};

struct Transfer {
  const RemoteFile& file;
  const DownloadOptions& options;
  PartFile& part;
  int64_t begin;  // how much was there before
  int64_t received = 0;
  bool too_long = false;
  std::string write_error;
};

size_t receive(char* bytes, size_t, size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  transfer.received += static_cast<int64_t>(size);
  transfer.too_long = transfer.begin + transfer.received > transfer.file.bytes;
  if (transfer.too_long) return 0;
  if (transfer.part.append(bytes, size)) return size;
  transfer.write_error = fmt::format("{} cannot be written: {}", transfer.part.path(), std::strerror(errno));
  return 0;
}

bool cancelled(const DownloadOptions& o) { return o.cancelled && o.cancelled(); }

int watch(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& transfer = *static_cast<Transfer*>(context);
  if (transfer.options.progress)
    transfer.options.progress(transfer.file.name, transfer.begin + transfer.received, transfer.file.bytes);
  return cancelled(transfer.options);
}

void configure(CURL* curl, const std::string& address, Transfer& transfer, char* reason) {
  curl_easy_setopt(curl, CURLOPT_URL, address.c_str());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "stipple");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, transfer.options.connect_seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, transfer.options.stalled_seconds);
  curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.begin));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
}

// What came of asking one address.
struct Attempt {
  std::string failure;   // empty: the part is whole and right
  bool useless = false;  // the part cannot become right by going on
};

Attempt judged(CURLcode code, const char* reason, const Transfer& transfer) {
  if (transfer.too_long) return {fmt::format("sends more than the {} bytes expected", transfer.file.bytes), true};
  if (!transfer.write_error.empty()) return {transfer.write_error};
  if (code != CURLE_OK) return {reason[0] ? reason : curl_easy_strerror(code), code == CURLE_RANGE_ERROR};
  const int64_t size = transfer.part.size();
  if (size < transfer.file.bytes) return {fmt::format("{} of {} bytes came", size, transfer.file.bytes), true};
  if (sha256_of_file(transfer.part.path()) != transfer.file.sha256)
    return {"the SHA-256 is not the published one", true};
  return {};
}

Attempt transfer_from(const std::string& address, Transfer& transfer) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  check(ready == CURLE_OK && curl, "libcurl does not start");
  std::array<char, CURL_ERROR_SIZE> reason{};
  configure(curl.get(), address, transfer, reason.data());
  const CURLcode code = curl_easy_perform(curl.get());
  check(!cancelled(transfer.options), "{}: interrupted; the next download goes on from here", transfer.part.path());
  return judged(code, reason.data(), transfer);
}

bool is_right(const std::string& path, const RemoteFile& file) {
  std::error_code missing;
  const auto size = fs::file_size(path, missing);
  return !missing && static_cast<int64_t>(size) == file.bytes && sha256_of_file(path) == file.sha256;
}

Attempt fetch(const RemoteFile& file, const std::string& address, PartFile& part, const DownloadOptions& o) {
  Transfer transfer{file, o, part, part.size()};
  const Attempt attempt = transfer_from(address, transfer);
  if (attempt.useless) part.clear();
  return attempt;
}

// An old part may hold something else, or the server may not know ranges: then it is worth beginning anew.
std::string fetch_or_begin_anew(const RemoteFile& file, const std::string& address, PartFile& part,
                                const DownloadOptions& o) {
  const bool resumed = part.size() > 0;
  const Attempt attempt = fetch(file, address, part, o);
  return resumed && attempt.useless ? fetch(file, address, part, o).failure : attempt.failure;
}

fs::path folder_for(const RemoteDataset& set, const fs::path& to) {
  const fs::path folder = to.empty() ? fs::path("data") / set.name : to;
  const fs::path parent = fs::absolute(folder).parent_path();
  check(to.empty() || fs::is_directory(parent), "{}: there is no folder {}", to.string(), parent.string());
  return folder;
}

// Makes a folder and those above it. What was made and holds nothing in the end is removed again.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& folder) {
    for (fs::path f = fs::absolute(folder).lexically_normal(); !fs::exists(f); f = f.parent_path()) made_.push_back(f);
    std::error_code error;
    fs::create_directories(folder, error);
    check(!error, "{}: cannot be created: {}", folder.string(), error.message());
  }
  ~NewFolder() {
    std::error_code holds_something;
    for (const fs::path& folder : made_) fs::remove(folder, holds_something);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

 private:
  std::vector<fs::path> made_;  // innermost first
};

// By way of a temporary folder, so that the unpacked one is whole.
void unpack(const fs::path& archive, const fs::path& target, const DownloadOptions& o) {
  const fs::path temporary = temporary_beside(target.string());
  fs::create_directories(temporary);
  try {
    unpack_tar(archive.string(), temporary, o.cancelled);
    check(fs::is_directory(temporary / target.filename()), "{}: holds no folder {}", archive.string(),
          target.filename().string());
    replace_folder((temporary / target.filename()).string(), target.string());
  } catch (...) {
    fs::remove_all(temporary);
    throw;
  }
  fs::remove_all(temporary);
}

}  // namespace

void download(const RemoteFile& file, const fs::path& folder, const DownloadOptions& o) {
  const std::string path = (folder / file.name).string();
  if (is_right(path, file)) return;
  PartFile part(path + ".part");
  if (is_right(part.path(), file)) return part.move_to(path);
  if (part.size() >= file.bytes) part.clear();
  std::string failures;
  for (const std::string& address : file.addresses) {
    const std::string failure = fetch_or_begin_anew(file, address, part, o);
    if (failure.empty()) return part.move_to(path);
    failures += fmt::format("{} {}: {}", failures.empty() ? "" : ";", address, failure);
  }
  fail("{} cannot be downloaded:{}", file.name, failures);
}

fs::path download_dataset(const RemoteDataset& set, const fs::path& to, const DownloadOptions& o) {
  const fs::path folder = folder_for(set, to);
  const NewFolder made(folder);
  const fs::path unpacked = folder / set.unpacked;
  if (!set.unpacked.empty() && fs::is_directory(unpacked)) return folder;
  for (const RemoteFile& file : set.files) download(file, folder, o);
  if (set.unpacked.empty()) return folder;
  unpack(folder / set.files[0].name, unpacked, o);
  fs::remove(folder / set.files[0].name);
  return folder;
}

}  // namespace stipple
