#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace stipple {

// A file as somebody publishes it, at one or more addresses (http, https, file).
struct RemoteFile {
  std::string name;
  int64_t bytes;
  std::string sha256;
  std::vector<std::string> addresses;  // tried in this order
};

struct RemoteDataset {
  std::string name;
  std::vector<RemoteFile> files;
  std::string unpacked;  // the folder that the archive files[0] unpacks to; empty: the files are used as they are
};

const std::vector<RemoteDataset>& remote_datasets();  // mnist, fashion-mnist, cifar10

struct DownloadOptions {
  std::function<void(const std::string& file, int64_t done, int64_t total)> progress;  // bytes
  std::function<bool()> cancelled;  // asked several times a second; what has come so far is kept
  long connect_seconds = 10;        // until an address counts as out of reach
  long stalled_seconds = 30;        // without a byte
};

// Fetches a file into a folder, where it appears whole, with the right size and SHA-256, or not at all: it grows as
// NAME.part, from which the next call goes on. A right file that is there already is left alone. Errors tell what every
// address said.
void download(const RemoteFile&, const std::filesystem::path& folder, const DownloadOptions& = {});

// All files of a data set, unpacked, into the folder `to` (its parent must exist), or into ./data/NAME if `to` is
// empty. Returns the folder.
std::filesystem::path download_dataset(const RemoteDataset&, const std::filesystem::path& to,
                                       const DownloadOptions& = {});

// The data set of that name; an unknown name is an error that lists the known ones.
const RemoteDataset& remote_dataset(const std::string& name);

}  // namespace stipple
