#include "diffusion/image/jpeg.h"

#include <optional>
#include <set>
#include <span>

#include "diffusion/image/exif.h"
#include "tensor/bytes.h"
#include "tensor/error.h"

namespace stipple {
namespace {

enum Marker : uint32_t {
  kProgressiveFrame = 0xC2,
  kHuffmanTables = 0xC4,
  kStartOfImage = 0xD8,
  kEndOfImage = 0xD9,
  kStartOfScan = 0xDA,
  kApp1 = 0xE1
};

bool is_restart(uint32_t marker) { return marker >= 0xD0 && marker <= 0xD7; }
bool stands_alone(uint32_t marker) { return is_restart(marker) || marker == kStartOfImage || marker == 0x01; }
bool is_frame(uint32_t marker) {  // start of frame; 0xC8 and 0xCC are none
  return marker >= 0xC0 && marker <= 0xCF && marker != kHuffmanTables && marker != 0xC8 && marker != 0xCC;
}

struct Segment {
  uint32_t marker = 0;
  std::span<const std::byte> data;
  size_t end = 0;  // where the next segment, or entropy-coded data, begins
};

// The next segment, past anything that is no marker; nothing if the file ends before it does.
std::optional<Segment> next_segment(std::span<const std::byte> file, size_t at) {
  for (; at + 2 <= file.size(); ++at) {
    const uint32_t marker = byte_at(file, at + 1);
    if (byte_at(file, at) != 0xFF || marker == 0xFF || marker == 0 || stands_alone(marker)) continue;
    if (marker == kEndOfImage) return Segment{marker, {}, at + 2};
    if (file.size() - at < 4) return std::nullopt;
    const size_t length = big16(file, at + 2);
    if (length < 2 || file.size() - at - 2 < length) return std::nullopt;
    return Segment{marker, file.subspan(at + 4, length - 2), at + 2 + length};
  }
  return std::nullopt;
}

ImageHeader read_frame(const Segment& frame, const std::string& name) {
  check(frame.data.size() >= 6, "{}: the JPEG header is cut off", name);
  check(frame.marker <= 0xC2, "{}: is a lossless or arithmetic-coded JPEG, which is not read", name);
  check(byte_at(frame.data, 0) == 8, "{}: is a {}-bit JPEG; 8 bits are read", name, byte_at(frame.data, 0));
  const uint32_t components = byte_at(frame.data, 5);
  check(components != 4, "{}: is a CMYK JPEG; grey and RGB are read", name);
  check(components == 1 || components == 3, "{}: the JPEG has {} components; 1 and 3 are read", name, components);
  return {
      .format = Format::jpeg, .height = big16(frame.data, 1), .width = big16(frame.data, 3), .channels = components};
}

using HuffmanTables = std::set<uint32_t>;  // class (0: DC, 1: AC) and number of those that are there, a byte each

// A table is a class and number, sixteen counts of codes by length, and that many symbols: at most 256 (B.2.4.2). The
// decoder trusts the counts.
void read_huffman_tables(const Segment& segment, HuffmanTables& tables, const std::string& name) {
  constexpr size_t kSymbolsAt = 17;
  for (auto left = segment.data; !left.empty();) {
    check(left.size() >= kSymbolsAt, "{}: the JPEG is damaged: a Huffman table is cut off", name);
    size_t symbols = 0;
    for (size_t i = 1; i < kSymbolsAt; ++i) symbols += byte_at(left, i);
    check(symbols <= 256 && left.size() - kSymbolsAt >= symbols,
          "{}: the JPEG is damaged: a Huffman table of {} symbols", name, symbols);
    tables.insert(byte_at(left, 0));
    left = left.subspan(kSymbolsAt + symbols);
  }
}

// A scan names a table of each class for every component (B.2.3); a progressive one needs those of its class. The
// decoder trusts that they are there.
void check_scan(const Segment& scan, bool progressive, const HuffmanTables& tables, const std::string& name) {
  const size_t components = scan.data.empty() ? 0 : byte_at(scan.data, 0);
  check(components >= 1 && scan.data.size() >= 4 + 2 * components,
        "{}: the JPEG is damaged: a scan's header is cut off", name);
  const bool first_is_dc = byte_at(scan.data, 1 + 2 * components) == 0;
  for (size_t i = 0; i < components; ++i) {
    const uint32_t numbers = byte_at(scan.data, 2 + 2 * i), dc = numbers >> 4, ac = 0x10 | (numbers & 15);
    check(((progressive && !first_is_dc) || tables.count(dc)) && ((progressive && first_is_dc) || tables.count(ac)),
          "{}: the JPEG is damaged: a scan needs a Huffman table that is not there", name);
  }
}

}  // namespace

ImageHeader read_jpeg_header(std::span<const std::byte> file, const std::string& name) {
  constexpr std::string_view kExif{"Exif\0\0", 6};
  int orientation = 1;
  for (size_t at = 2;;) {
    const auto segment = next_segment(file, at);
    check(segment && segment->marker != kEndOfImage && segment->marker != kStartOfScan,
          "{}: the JPEG is cut off before its picture", name);
    if (segment->marker == kApp1 && starts_with(segment->data, kExif))
      orientation = exif_orientation(segment->data.subspan(kExif.size()));
    if (is_frame(segment->marker)) {
      ImageHeader header = read_frame(*segment, name);
      header.orientation = orientation;
      return header;
    }
    at = segment->end;
  }
}

void check_jpeg_complete(std::span<const std::byte> file, const std::string& name) {
  bool scanned = false, progressive = false;
  HuffmanTables tables;
  for (size_t at = 2;;) {
    const auto segment = next_segment(file, at);
    check(segment.has_value(), "{}: the JPEG is cut off after {} bytes", name, file.size());
    if (segment->marker == kEndOfImage) break;
    if (segment->marker == kHuffmanTables) read_huffman_tables(*segment, tables, name);
    if (is_frame(segment->marker)) progressive = segment->marker == kProgressiveFrame;
    if (segment->marker == kStartOfScan) check_scan(*segment, progressive, tables, name);
    scanned |= segment->marker == kStartOfScan;
    at = segment->end;
  }
  check(scanned, "{}: the JPEG holds no picture", name);
}

}  // namespace stipple
