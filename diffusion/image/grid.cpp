#include "diffusion/image/grid.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace stipple {
namespace {

uint8_t to_byte(float x) {
  const float unit = std::clamp(x / 2 + 0.5f, 0.0f, 1.0f);
  return static_cast<uint8_t>(std::lrint(255 * unit));
}

uint8_t to_byte(uint8_t x) { return x; }

// x is [H,W,C].
template <typename T>
Image converted(const Tensor& x) {
  Image image(x.dim(0), x.dim(1), x.dim(2));
  const T* from = x.data<T>();
  std::transform(from, from + x.numel(), image.pixels.begin(), [](T v) { return to_byte(v); });
  return image;
}

void paste(const Image& from, Image& sheet, int64_t top, int64_t left) {
  for (int64_t y = 0; y < from.height; ++y)
    std::copy_n(from.at(y, 0), from.width * from.channels, sheet.at(top + y, left));
}

}  // namespace

Image to_image(const Tensor& x) {
  if (x.rank() == 4 && x.dim(0) == 1) return to_image(x[0]);
  check(x.rank() == 3 && (x.dim(2) == 1 || x.dim(2) == 3 || x.dim(2) == 4),
        "to_image: [H,W,C] with C = 1, 3 or 4 expected, got {}", describe(x));
  if (x.dtype() == Dtype::u8) return converted<uint8_t>(x);
  return converted<float>(x);
}

Image make_grid(const Tensor& images, const GridOptions& o) {
  check(images.rank() == 4 && images.dim(0) > 0, "make_grid: [N,H,W,C] expected, got {}", describe(images));
  check(o.nrow > 0 && o.padding >= 0, "make_grid: {} pictures in a row, {} pixels between them", o.nrow, o.padding);
  const int64_t count = images.dim(0);
  if (count == 1) return to_image(images);
  const int64_t columns = std::min(o.nrow, count), rows = (count + columns - 1) / columns;
  const int64_t height = images.dim(1) + o.padding, width = images.dim(2) + o.padding;
  Image sheet(rows * height + o.padding, columns * width + o.padding, images.dim(3), o.pad_value);
  for (int64_t i = 0; i < count; ++i)
    paste(to_image(images[i]), sheet, i / columns * height + o.padding, i % columns * width + o.padding);
  return sheet;
}

Tensor to_tensor(const Image& image) {
  Tensor x({image.height, image.width, image.channels});
  std::transform(image.pixels.begin(), image.pixels.end(), x.mutable_data<float>(),
                 [](uint8_t v) { return v / 127.5f - 1; });
  return x;
}

}  // namespace stipple
