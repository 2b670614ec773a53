#include "diffusion/data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace stipple {

GzipReader::GzipReader(std::string path) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
  check(file_ != nullptr, "{}: cannot be opened: {}", path_, std::strerror(errno));
}

GzipReader::~GzipReader() { gzclose(file_); }

size_t GzipReader::read(std::span<std::byte> to) {
  constexpr size_t kPiece = 1 << 30;  // gzread counts in int
  size_t got = 0;
  while (got < to.size()) {
    const int n = gzread(file_, to.data() + got, static_cast<unsigned>(std::min(to.size() - got, kPiece)));
    int status = Z_OK;
    const char* reason = gzerror(file_, &status);
    check(n >= 0 && (status == Z_OK || status == Z_STREAM_END), "{}: is cut off or damaged: {}", path_, reason);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  return got;
}

}  // namespace stipple
