#include "diffusion/data/download.h"
#include "tensor/error.h"

// Downloads in a build without libcurl (cmake/packages.cmake).

namespace stipple {

void download(const RemoteFile& file, const std::filesystem::path&, const DownloadOptions&) {
  fail("{}: cannot be downloaded: this build of stipple has no libcurl", file.name);
}

std::filesystem::path download_dataset(const RemoteDataset& set, const std::filesystem::path&, const DownloadOptions&) {
  fail("{}: cannot be downloaded: this build of stipple has no libcurl", set.name);
}

}  // namespace stipple
