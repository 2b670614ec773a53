#include "diffusion/image/header.h"

#include <string_view>

#include "diffusion/image/jpeg.h"
#include "diffusion/image/png.h"
#include "tensor/bytes.h"
#include "tensor/error.h"

namespace stipple {
namespace {

using namespace std::string_view_literals;

struct Magic {
  size_t offset;
  std::string_view bytes;
  const char* name;
};

constexpr Magic kRefused[] = {
    {8, "WEBP"sv, "a WebP picture"},
    {0, "GIF8"sv, "a GIF picture"},
    {0, "II*\0"sv, "a TIFF picture"},
    {0, "MM\0*"sv, "a TIFF picture"},
    {4, "ftypavi"sv, "an AVIF picture"},
    {4, "ftyphei"sv, "a HEIC picture"},
    {4, "ftyphev"sv, "a HEIC picture"},
    {4, "ftypmif1"sv, "a HEIF picture"},
    {4, "ftypmsf1"sv, "a HEIF picture"},
    {0, "\xFF\x0A"sv, "a JPEG XL picture"},
    {4, "JXL "sv, "a JPEG XL picture"},
    {4, "jP  "sv, "a JPEG 2000 picture"},
    {0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000 picture"},
    {0, "8BPS"sv, "a Photoshop (PSD) picture"},
    {0, "\x76\x2F\x31\x01"sv, "an OpenEXR picture"},
    {0, "#?RADIANCE"sv, "a Radiance HDR picture"},
    {0, "\0\0\1\0"sv, "an icon (ICO)"},
    {0, "P4"sv, "a PBM picture"},
    {0, "P5"sv, "a PGM picture"},
    {0, "P6"sv, "a PPM picture"},
    {0, "qoif"sv, "a QOI picture"},
    {0, "<svg"sv, "an SVG drawing"},
    {0, "<?xml"sv, "an XML file (an SVG drawing?)"},
    {0, "<!DOCTYPE"sv, "a web page"},
    {0, "<html"sv, "a web page"},
    {0, "%PDF"sv, "a PDF document"},
    {0, "PK\3\4"sv, "a ZIP archive"},
    {0, "\x1F\x8B"sv, "a gzip archive"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer (run `git lfs pull`)"},
};

bool bears(std::span<const std::byte> file, const Magic& magic) {
  return file.size() >= magic.offset && starts_with(file.subspan(magic.offset), magic.bytes);
}

[[noreturn]] void refuse(std::span<const std::byte> file, const std::string& name) {
  check(!file.empty(), "{}: the file is empty", name);
  for (const Magic& magic : kRefused)
    if (bears(file, magic)) fail("{}: is {}; PNG, JPEG and BMP are read", name, magic.name);
  fail("{}: is no PNG, JPEG or BMP picture", name);
}

// The 40-byte (or longer) Windows header; the 12-byte one of OS/2 has 16-bit sides.
ImageHeader read_bmp(std::span<const std::byte> file, const std::string& name) {
  check(file.size() >= 30, "{}: the BMP header is cut off", name);
  const bool os2 = little32(file, 14) == 12;
  const int64_t width = os2 ? little16(file, 18) : static_cast<int32_t>(little32(file, 18));
  const int64_t height = os2 ? little16(file, 20) : static_cast<int32_t>(little32(file, 22));
  return {.format = Format::bmp, .height = height < 0 ? -height : height, .width = width, .channels = 3};
}

ImageHeader read_any(std::span<const std::byte> file, const std::string& name) {
  if (starts_with(file, kPngSignature)) return read_png_header(file, name);
  if (starts_with(file, kJpegSignature)) return read_jpeg_header(file, name);
  if (starts_with(file, "BM")) return read_bmp(file, name);
  refuse(file, name);
}

// Deflate packs at most 1032 to 1, and a byte holds up to eight pixels; a JPEG block of 64 pixels takes a bit at least.
int64_t most_pixels_a_byte(Format format) {
  switch (format) {
    case Format::png:
      return 8 * 1032;
    case Format::jpeg:
      return 8 * 64 * 4;  // colour may be there for every other pixel of every other row only
    case Format::bmp:
      return 8;
  }
  return 0;
}

void check_bmp(std::span<const std::byte> file, const ImageHeader& h, const std::string& name) {
  const bool os2 = little32(file, 14) == 12;
  const int64_t bits = little16(file, os2 ? 24 : 28), first_row = little32(file, 10);
  const int64_t row = (h.width * bits + 31) / 32 * 4;
  const int64_t expected = first_row + row * h.height;
  check(static_cast<int64_t>(file.size()) >= expected, "{}: the BMP is cut off: {} bytes of {}", name, file.size(),
        expected);
}

}  // namespace

ImageHeader read_header(std::span<const std::byte> file, const std::string& name) {
  const ImageHeader header = read_any(file, name);
  check(header.height > 0 && header.width > 0, "{}: the header says {} x {} pixels", name, header.width, header.height);
  check(header.width <= kMaxPixels / header.height, "{}: {} x {} pixels are more than {} megapixels", name,
        header.width, header.height, kMaxPixels / 1'000'000);
  check(header.height * header.width <= static_cast<int64_t>(file.size()) * most_pixels_a_byte(header.format),
        "{}: the header promises {} x {} pixels, which {} bytes cannot hold", name, header.width, header.height,
        file.size());
  return header;
}

void check_complete(std::span<const std::byte> file, const ImageHeader& header, const std::string& name) {
  if (header.format == Format::png) check_png_complete(file, name);
  if (header.format == Format::bmp) check_bmp(file, header, name);
}

}  // namespace stipple
