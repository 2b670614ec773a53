#include "diffusion/image/resize.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace stipple {
namespace {

constexpr int kFixedBits = 32 - 8 - 2;  // room for 8 bits of pixel, a sign and one bit of overshoot

// What one output pixel is made of.
struct Window {
  int64_t first;
  std::vector<int32_t> weights;  // of input pixels first, first + 1, ...; they sum to 1 << kFixedBits, about
};

std::vector<double> triangle(double center, double scale, int64_t first, int64_t last) {
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = first; i < last; ++i) {
    weights.push_back(std::max(0.0, 1 - std::abs((i - center + 0.5) * (1 / scale))));
    sum += weights.back();
  }
  for (double& w : weights) w /= sum;
  return weights;
}

std::vector<Window> windows(int64_t in, int64_t out) {
  const double ratio = static_cast<double>(in) / out, scale = std::max(ratio, 1.0);
  std::vector<Window> made;
  for (int64_t o = 0; o < out; ++o) {
    const double center = (o + 0.5) * ratio;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - scale + 0.5));
    const int64_t last = std::min(in, static_cast<int64_t>(center + scale + 0.5));
    Window window{first, {}};
    for (double w : triangle(center, scale, first, last))
      window.weights.push_back(static_cast<int32_t>(w * (1 << kFixedBits) + 0.5));
    made.push_back(std::move(window));
  }
  return made;
}

// One pixel channel: `step` elements lie between neighbours.
uint8_t weigh(const Window& window, const uint8_t* from, int64_t step) {
  int32_t sum = 1 << (kFixedBits - 1);
  for (size_t k = 0; k < window.weights.size(); ++k) sum += window.weights[k] * from[(window.first + k) * step];
  return static_cast<uint8_t>(std::clamp(sum >> kFixedBits, 0, 255));
}

Image resize_rows(const ImageView& from, int64_t width) {
  Image to(from.height, width, from.channels);
  const auto columns = windows(from.width, width);
  for (int64_t y = 0; y < to.height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < to.channels; ++c) to.at(y, x)[c] = weigh(columns[x], from.at(y, 0) + c, from.channels);
  return to;
}

Image resize_columns(const ImageView& from, int64_t height) {
  Image to(height, from.width, from.channels);
  const auto rows = windows(from.height, height);
  const int64_t row = from.width * from.channels;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t i = 0; i < row; ++i) to.at(y, 0)[i] = weigh(rows[y], from.pixels + i, row);
  return to;
}

Image copy(const ImageView& from) { return crop(from, 0, 0, from.height, from.width); }

}  // namespace

Image resize(const ImageView& from, int64_t height, int64_t width) {
  check(height > 0 && width > 0, "resize: to {} x {} pixels", width, height);
  Image resized = from.width == width ? copy(from) : resize_rows(from, width);
  return from.height == height ? resized : resize_columns(resized, height);
}

Image resize_short_side(const ImageView& from, int64_t side) {
  if (from.height <= from.width) return resize(from, side, side * from.width / from.height);
  return resize(from, side * from.height / from.width, side);
}

Image crop(const ImageView& from, int64_t top, int64_t left, int64_t height, int64_t width) {
  check(top >= 0 && left >= 0 && top + height <= from.height && left + width <= from.width,
        "crop: {} x {} pixels at ({}, {}) of {} x {}", width, height, left, top, from.width, from.height);
  Image cut(height, width, from.channels);
  for (int64_t y = 0; y < height; ++y) std::copy_n(from.at(top + y, left), width * from.channels, cut.at(y, 0));
  return cut;
}

Image center_crop(const ImageView& from, int64_t height, int64_t width) {
  const auto margin = [](int64_t outer, int64_t inner) { return std::lrint((outer - inner) / 2.0); };  // half to even
  return crop(from, margin(from.height, height), margin(from.width, width), height, width);
}

Image with_channels(Image from, int64_t channels) {
  check(channels == 1 || channels == 3, "pictures have 1 or 3 channels, {} asked for", channels);
  if (from.channels == channels) return from;
  Image to(from.height, from.width, channels);
  const uint8_t* p = from.pixels.data();
  for (int64_t i = 0; i < from.height * from.width; ++i) {
    if (channels == 3)
      std::fill_n(to.pixels.data() + 3 * i, 3, p[i]);
    else
      to.pixels[i] =
          static_cast<uint8_t>((p[3 * i] * 19595 + p[3 * i + 1] * 38470 + p[3 * i + 2] * 7471 + 32768) >> 16);
  }
  return to;
}

}  // namespace stipple
