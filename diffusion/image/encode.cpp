#include "diffusion/image/encode.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "diffusion/image/png.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

std::string big_endian32(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian32(static_cast<uint32_t>(data.size())) + body + big_endian32(static_cast<uint32_t>(crc));
}

std::string header_chunk(const ImageView& image) {
  const char bit_depth = 8, colour_type = image.channels == 1 ? 0 : image.channels == 3 ? 2 : 6;
  return chunk("IHDR", big_endian32(static_cast<uint32_t>(image.width)) +
                           big_endian32(static_cast<uint32_t>(image.height)) +
                           std::string{bit_depth, colour_type, 0, 0, 0});
}

std::string text_chunk(const PngText& entry) {
  const auto& [keyword, text] = entry;
  check(!keyword.empty() && keyword.size() < 80, "encode_png: a keyword has 1 to 79 bytes, '{}' has {}", keyword,
        keyword.size());
  const bool ascii = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 128; });
  const std::string uncompressed_no_language(4, '\0');
  return ascii ? chunk("tEXt", keyword + '\0' + text) : chunk("iTXt", keyword + '\0' + uncompressed_no_language + text);
}

int paeth(int left, int up, int corner) {
  const int estimate = left + up - corner;
  const int to_left = std::abs(estimate - left), to_up = std::abs(estimate - up),
            to_corner = std::abs(estimate - corner);
  if (to_left <= to_up && to_left <= to_corner) return left;
  return to_up <= to_corner ? up : corner;
}

int predicted(int filter, int left, int up, int corner) {
  switch (filter) {
    case 1:
      return left;
    case 2:
      return up;
    case 3:
      return (left + up) / 2;
    case 4:
      return paeth(left, up, corner);
  }
  return 0;
}

// A row of the picture as the difference from its prediction; the filter's number comes first.
std::string filtered(const ImageView& image, int64_t y, int filter) {
  const int64_t row = image.width * image.channels;
  const uint8_t *here = image.pixels + y * row, *above = y > 0 ? here - row : nullptr;
  std::string to(1, static_cast<char>(filter));
  for (int64_t i = 0; i < row; ++i) {
    const int64_t before = i - image.channels;
    const int left = before >= 0 ? here[before] : 0, up = above ? above[i] : 0;
    const int corner = above && before >= 0 ? above[before] : 0;
    to.push_back(static_cast<char>(here[i] - predicted(filter, left, up, corner)));
  }
  return to;
}

int64_t magnitude(const std::string& filtered_row) {
  int64_t sum = 0;
  for (size_t i = 1; i < filtered_row.size(); ++i) sum += std::abs(static_cast<signed char>(filtered_row[i]));
  return sum;
}

// The filter with the smallest sum of absolute differences: the heuristic of RFC 2083, section 9.6.
std::string best_filtered(const ImageView& image, int64_t y) {
  std::string best = filtered(image, y, 0);
  for (int filter = 1; filter <= 4; ++filter) {
    std::string row = filtered(image, y, filter);
    if (magnitude(row) < magnitude(best)) best = std::move(row);
  }
  return best;
}

std::string deflated(const std::string& bytes) {
  uLongf size = compressBound(bytes.size());
  std::string packed(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                               reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), Z_DEFAULT_COMPRESSION);
  check(status == Z_OK, "encode_png: zlib reports {}", zError(status));
  packed.resize(size);
  return packed;
}

// tEXt: keyword 0 text. iTXt: keyword 0, compressed?, method, language 0, translated keyword 0, text.
std::optional<PngText> text_of(const PngChunk& c) {
  const std::string_view data{reinterpret_cast<const char*>(c.data.data()), c.data.size()};
  const size_t end = data.find('\0');
  if (end == data.npos) return std::nullopt;
  const std::string keyword(data.substr(0, end));
  if (c.type == "tEXt") return PngText{keyword, data.substr(end + 1)};
  if (c.type != "iTXt" || data.size() < end + 3 || data[end + 1] != 0) return std::nullopt;
  const size_t language_end = data.find('\0', end + 3);
  if (language_end == data.npos) return std::nullopt;
  const size_t translation_end = data.find('\0', language_end + 1);
  if (translation_end == data.npos) return std::nullopt;
  return PngText{keyword, data.substr(translation_end + 1)};
}

}  // namespace

std::string encode_png(const ImageView& image, std::span<const PngText> text) {
  check(image.channels == 1 || image.channels == 3 || image.channels == 4,
        "encode_png: 1, 3 or 4 channels expected, got {}", image.channels);
  check(image.height > 0 && image.width > 0, "encode_png: the picture is {} x {} pixels", image.width, image.height);
  std::string file(kPngSignature), rows;
  file += header_chunk(image);
  for (const PngText& entry : text) file += text_chunk(entry);
  for (int64_t y = 0; y < image.height; ++y) rows += best_filtered(image, y);
  return file + chunk("IDAT", deflated(rows)) + chunk("IEND", "");
}

void write_png(const std::filesystem::path& path, const ImageView& image, std::span<const PngText> text) {
  write_file_atomically(path.string(), encode_png(image, text));
}

std::vector<PngText> png_text(std::span<const std::byte> file, const std::string& name) {
  check(read_header(file, name).format == Format::png, "{}: is no PNG, and only those hold text", name);
  check_png_complete(file, name);
  std::vector<PngText> found;
  for (auto c = png_chunk(file, kPngSignature.size()); c && c->type != "IEND"; c = png_chunk(file, c->end))
    if (auto entry = text_of(*c)) found.push_back(std::move(*entry));
  return found;
}

}  // namespace stipple
