#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "diffusion/image/header.h"

// The chunks of a PNG file (RFC 2083, section 3): length, type, data, CRC-32 of type and data.

namespace stipple {

inline constexpr std::string_view kPngSignature{"\x89PNG\r\n\x1A\n", 8};

struct PngChunk {
  std::string_view type;  // four letters
  std::span<const std::byte> data;
  size_t end;  // where the next chunk begins
};

// The chunk at that offset (the first is at kPngSignature.size()); nothing if the file ends before it does.
std::optional<PngChunk> png_chunk(std::span<const std::byte> file, size_t offset);

ImageHeader read_png_header(std::span<const std::byte> file, const std::string& name);
void check_png_complete(std::span<const std::byte> file, const std::string& name);

}  // namespace stipple
