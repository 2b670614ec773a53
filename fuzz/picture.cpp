#include <zlib.h>

#include "diffusion/image/decode.h"
#include "diffusion/image/encode.h"
#include "diffusion/image/png.h"
#include "fuzz/memory_file.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  stipple::refusing([&] { stipple::decode(file, "picture"); });
  return stipple::refusing([&] { stipple::png_text(file, "picture"); });
}

// A changed PNG would be refused for its checksums and never be decoded.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned) {
  const std::span<uint8_t> file(data, LLVMFuzzerMutate(data, size, most));
  for (size_t at = stipple::kPngSignature.size(); at < file.size();) {
    const auto chunk = stipple::png_chunk(std::as_bytes(file), at);
    if (!chunk) break;
    const auto crc = static_cast<uint32_t>(crc32(0, data + at + 4, static_cast<uInt>(chunk->data.size() + 4)));
    for (int i = 0; i < 4; ++i) data[chunk->end - 4 + i] = static_cast<uint8_t>(crc >> 8 * (3 - i));
    at = chunk->end;
  }
  return file.size();
}
