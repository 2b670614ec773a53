#include "diffusion/image/png.h"

#include <zlib.h>

#include "diffusion/image/exif.h"
#include "tensor/bytes.h"
#include "tensor/error.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

constexpr size_t kFrame = 12;  // bytes of a chunk besides its data

bool crc_agrees(std::span<const std::byte> file, size_t offset, size_t length) {
  const auto* type = reinterpret_cast<const Bytef*>(file.data() + offset + 4);
  return crc32(0, type, static_cast<uInt>(length + 4)) == big32(file, offset + 8 + length);
}

}  // namespace

std::optional<PngChunk> png_chunk(std::span<const std::byte> file, size_t offset) {
  if (file.size() - offset < kFrame) return std::nullopt;
  const size_t length = big32(file, offset);
  if (file.size() - offset - kFrame < length) return std::nullopt;
  const std::string_view type{reinterpret_cast<const char*>(file.data() + offset + 4), 4};
  return PngChunk{type, file.subspan(offset + 8, length), offset + kFrame + length};
}

ImageHeader read_png_header(std::span<const std::byte> file, const std::string& name) {
  const auto first = png_chunk(file, kPngSignature.size());
  check(first && first->type == "IHDR" && first->data.size() == 13, "{}: the PNG header is cut off", name);
  constexpr uint32_t kPalette = 1, kColour = 2, kAlpha = 4;  // bits of the colour type
  const uint32_t type = byte_at(first->data, 9);
  ImageHeader header{.format = Format::png,
                     .height = big32(first->data, 4),
                     .width = big32(first->data, 0),
                     .channels = type & (kPalette | kColour) ? 3 : 1,
                     .has_alpha = (type & kAlpha) != 0};
  for (auto chunk = first; chunk && chunk->type != "IDAT" && chunk->type != "IEND";
       chunk = png_chunk(file, chunk->end)) {
    if (chunk->type == "tRNS") header.has_alpha = true;
    if (chunk->type == "eXIf") header.orientation = exif_orientation(chunk->data);
  }
  return header;
}

void check_png_complete(std::span<const std::byte> file, const std::string& name) {
  for (size_t offset = kPngSignature.size();;) {
    const auto chunk = png_chunk(file, offset);
    check(chunk.has_value(), "{}: the PNG is cut off after {} bytes", name, file.size());
    check(crc_agrees(file, offset, chunk->data.size()), "{}: the PNG is damaged: wrong checksum of its {} chunk", name,
          in_quotes(chunk->type));
    if (chunk->type == "IEND") return;
    offset = chunk->end;
  }
}

}  // namespace stipple
