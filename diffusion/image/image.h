#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace stipple {

// A picture: rows from the top, channels interleaved (HWC), 1 = grey, 3 = RGB or 4 = RGBA, 0..255. Only
// what networks draw has alpha: decoding composites on white.
struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int64_t h, int64_t w, int64_t c, uint8_t value = 0)
      : height(h), width(w), channels(c), pixels(static_cast<size_t>(h * w * c), value) {}

  uint8_t* at(int64_t y, int64_t x) { return pixels.data() + (y * width + x) * channels; }
  const uint8_t* at(int64_t y, int64_t x) const { return pixels.data() + (y * width + x) * channels; }
  friend bool operator==(const Image&, const Image&) = default;
};

// Somebody else's pixels, laid out like an Image's.
struct ImageView {
  int64_t height = 0, width = 0, channels = 0;
  const uint8_t* pixels = nullptr;

  ImageView() = default;
  ImageView(int64_t h, int64_t w, int64_t c, const uint8_t* p) : height(h), width(w), channels(c), pixels(p) {}
  ImageView(const Image& i) : ImageView(i.height, i.width, i.channels, i.pixels.data()) {}

  const uint8_t* at(int64_t y, int64_t x) const { return pixels + (y * width + x) * channels; }
};

}  // namespace stipple
