#include "diffusion/image/exif.h"

#include <algorithm>
#include <optional>

namespace stipple {
namespace {

struct TiffReader {
  std::span<const std::byte> bytes;
  bool little_endian;

  std::optional<uint32_t> number(size_t offset, size_t size) const {
    if (offset > bytes.size() || bytes.size() - offset < size) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i)
      value = value << 8 | std::to_integer<uint32_t>(bytes[offset + (little_endian ? size - 1 - i : i)]);
    return value;
  }
};

std::optional<TiffReader> open_tiff(std::span<const std::byte> bytes) {
  if (bytes.size() < 8 || bytes[0] != bytes[1]) return std::nullopt;
  if (bytes[0] != std::byte{'I'} && bytes[0] != std::byte{'M'}) return std::nullopt;
  TiffReader tiff{bytes, bytes[0] == std::byte{'I'}};
  if (tiff.number(2, 2) != 42) return std::nullopt;
  return tiff;
}

}  // namespace

int exif_orientation(std::span<const std::byte> bytes) {
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  constexpr size_t kEntry = 12;  // bytes: tag 2, type 2, count 4, value 4
  const auto tiff = open_tiff(bytes);
  if (!tiff) return 1;
  const size_t directory = *tiff->number(4, 4);
  const size_t entries = tiff->number(directory, 2).value_or(0);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntry;
    const auto tag = tiff->number(entry, 2), type = tiff->number(entry + 2, 2), value = tiff->number(entry + 8, 2);
    if (!value) return 1;
    if (tag == kOrientation) return type == kShort && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

Image upright(Image stored, int orientation) {
  if (orientation <= 1) return stored;
  const bool transposed = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image turned(transposed ? stored.width : stored.height, transposed ? stored.height : stored.width, stored.channels);
  for (int64_t y = 0; y < turned.height; ++y)
    for (int64_t x = 0; x < turned.width; ++x) {
      const int64_t row = transposed ? x : y, column = transposed ? y : x;
      const uint8_t* from =
          stored.at(from_bottom ? stored.height - 1 - row : row, from_right ? stored.width - 1 - column : column);
      std::copy_n(from, stored.channels, turned.at(y, x));
    }
  return turned;
}

}  // namespace stipple
