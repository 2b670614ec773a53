#include "tensor/safetensors.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return stipple::refusing([&] {
    const stipple::MemoryFile file(data, size);
    const stipple::SafetensorsFile tensors(file.path());
    for (const std::string& name : tensors.names()) tensors.load(name);
  });
}
