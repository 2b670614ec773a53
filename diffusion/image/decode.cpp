#include "diffusion/image/decode.h"

#include <memory>

#include "diffusion/image/exif.h"
#include "diffusion/image/jpeg.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tensor/in_quotes.h"

#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace stipple {
namespace {

template <typename T>
using Decoded = std::unique_ptr<T, decltype(&stbi_image_free)>;

uint8_t to_byte(uint8_t v) { return v; }
uint8_t to_byte(uint16_t v) { return static_cast<uint8_t>((v * 255u + 32767) / 65535); }

uint8_t over_white(uint32_t value, uint32_t alpha) {
  return static_cast<uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

// Two and four channels are grey and RGB with alpha.
template <typename T>
Image composited(const T* from, int64_t height, int64_t width, int channels) {
  const bool alpha = channels % 2 == 0;
  Image image(height, width, alpha ? channels - 1 : channels);
  uint8_t* to = image.pixels.data();
  for (int64_t i = 0; i < height * width; ++i, from += channels)
    for (int64_t c = 0; c < image.channels; ++c)
      *to++ = alpha ? over_white(to_byte(from[c]), to_byte(from[channels - 1])) : to_byte(from[c]);
  return image;
}

Image decode_png_or_bmp(std::span<const std::byte> file, const std::string& name) {
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());
  int width = 0, height = 0, channels = 0;
  const auto finish = [&]<typename T>(T* pixels) {
    const Decoded<T> held(pixels, stbi_image_free);
    if (!pixels) fail("{}: cannot be decoded: {}", name, in_quotes(stbi_failure_reason()));  // null after success
    return composited(pixels, height, width, channels);
  };
  if (stbi_is_16_bit_from_memory(bytes, size))
    return finish(stbi_load_16_from_memory(bytes, size, &width, &height, &channels, 0));
  return finish(stbi_load_from_memory(bytes, size, &width, &height, &channels, 0));
}

Image decode_stored(std::span<const std::byte> file, const ImageHeader& header, const std::string& name) {
  if (header.format == Format::jpeg) return decode_jpeg(file, name);
  check_complete(file, header, name);
  return decode_png_or_bmp(file, name);
}

}  // namespace

Image decode(std::span<const std::byte> file, const std::string& name) {
  check(file.size() < size_t{1} << 31, "{}: {} bytes are too many for a picture", name, file.size());
  const ImageHeader header = read_header(file, name);
  return upright(decode_stored(file, header, name), header.orientation);
}

Image load_image(const std::filesystem::path& path) {
  const MappedFile file(path);
  return decode(file.bytes(), path.string());
}

}  // namespace stipple
