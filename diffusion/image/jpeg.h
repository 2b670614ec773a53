#pragma once
#include "diffusion/image/header.h"

// The segments of a JPEG file (ITU-T T.81, annex B): a marker 0xFF 0xXX, a big-endian length that counts itself, data.
// After a start-of-scan segment come entropy-coded bytes, in which 0xFF stands only before 0x00 (stuffing) or a restart
// marker.

namespace stipple {

inline constexpr std::string_view kJpegSignature{"\xFF\xD8\xFF", 3};

// CMYK, 12-bit, arithmetic-coded and lossless JPEGs are errors that say so.
ImageHeader read_jpeg_header(std::span<const std::byte> file, const std::string& name);
void check_jpeg_complete(std::span<const std::byte> file, const std::string& name);

}  // namespace stipple
