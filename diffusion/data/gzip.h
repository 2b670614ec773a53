#pragma once
#include <cstddef>
#include <span>
#include <string>

struct gzFile_s;

namespace stipple {

// Reads a file from its beginning, through gzip where it is packed, as it is where it is not. Errors name the file.
class GzipReader {
 public:
  explicit GzipReader(std::string path);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  // How many bytes came; fewer than asked for only at the end. A packed file that is cut off or damaged is an error.
  size_t read(std::span<std::byte> to);

 private:
  std::string path_;
  gzFile_s* file_;
};

}  // namespace stipple
