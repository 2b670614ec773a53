#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "diffusion/image/header.h"
#include "diffusion/image/image.h"

namespace stipple {

// PNG (grey, palette, RGB, with alpha, up to 16 bits), JPEG (grey, RGB) and BMP: turned upright as EXIF says, alpha
// composited on white, 16 bits rounded to 8. Errors name the file: other formats, damaged or cut-off files, absurd
// sizes.
Image decode(std::span<const std::byte> file, const std::string& name);
Image load_image(const std::filesystem::path&);

}  // namespace stipple
