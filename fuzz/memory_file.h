#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/error.h"

namespace stipple {

// Bytes as a file that never touches the disk.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    check(descriptor_ >= 0 && ::write(descriptor_, data, size) == static_cast<ssize_t>(size), "fuzz: no memory file");
    ::lseek(descriptor_, 0, SEEK_SET);
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

// A reader may refuse what it is given; by any other way out than Error it fails.
template <typename Read>
int refusing(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    for (const unsigned char c : std::string_view(error.what()))
      if (c < ' ') __builtin_trap();  // errors are one line
  }
  return 0;
}

}  // namespace stipple
