#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/image/image.h"

namespace stipple {

// Keyword and text, e.g. {"parameters", "Steps: 50, Sampler: ddim, ..."}. A keyword has 1 to 79 bytes.
using PngText = std::pair<std::string, std::string>;

// 8-bit PNG (RFC 2083), grey, RGB or RGBA. Text goes into tEXt chunks, or iTXt where it is not ASCII (UTF-8 then).
std::string encode_png(const ImageView&, std::span<const PngText> text = {});

// Whole or not at all (tensor/file.h).
void write_png(const std::filesystem::path&, const ImageView&, std::span<const PngText> text = {});

// The text of a PNG's tEXt and uncompressed iTXt chunks, in the order of the file.
std::vector<PngText> png_text(std::span<const std::byte> file, const std::string& name);

}  // namespace stipple
