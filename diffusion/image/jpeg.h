#pragma once
#include <string_view>

#include "diffusion/image/header.h"
#include "diffusion/image/image.h"

// JPEG by libjpeg-turbo: grey and colour of 8 bits, baseline and progressive. Whatever libjpeg has to say, were it but
// a warning that it made up what is missing, is an error.

namespace stipple {

inline constexpr std::string_view kJpegSignature{"\xFF\xD8\xFF", 3};

// CMYK, 12-bit, arithmetic-coded and lossless JPEGs are errors that say so.
ImageHeader read_jpeg_header(std::span<const std::byte> file, const std::string& name);

// As it is stored: the orientation is the caller's to apply. The caller has read the header, and found the size fit.
Image decode_jpeg(std::span<const std::byte> file, const std::string& name);

}  // namespace stipple
