#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

// What the first bytes of a picture file say. Errors name the file.

namespace stipple {

enum class Format { png, jpeg, bmp };

struct ImageHeader {
  Format format;
  int64_t height, width;  // as stored, before the orientation is applied
  int64_t channels;       // 1 or 3; what decoding will give
  bool has_alpha = false;
  int orientation = 1;  // EXIF, 1 to 8
};

inline constexpr int64_t kMaxPixels = 100'000'000;

// Errors: a format that is not read (WebP, GIF, TIFF, ... by name), a header that is cut off or makes no sense, more
// than kMaxPixels pixels, or more than a file of this size can hold.
ImageHeader read_header(std::span<const std::byte> file, const std::string& name);

// The decoder of PNG and BMP makes up what is missing from a file that was cut off. This finds out: an error where a
// PNG's chunks (CRC-32 included) do not reach IEND, or a BMP lacks rows.
void check_complete(std::span<const std::byte> file, const ImageHeader&, const std::string& name);

}  // namespace stipple
