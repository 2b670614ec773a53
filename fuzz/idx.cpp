#include "diffusion/data/idx.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return stipple::refusing([&] {
    const stipple::MemoryFile file(data, size);
    stipple::read_idx(file.path());
  });
}
