#include "diffusion/image/palette.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/error.h"

namespace stipple {
namespace {

constexpr size_t kMost = 256;
using Color = std::array<uint8_t, 3>;

struct Counted {
  Color color;
  int64_t pixels;
};

Color color_at(const ImageView& image, int64_t pixel) {
  const uint8_t* at = image.pixels + pixel * image.channels;
  return image.channels == 1 ? Color{at[0], at[0], at[0]} : Color{at[0], at[1], at[2]};
}

// Colours [begin, end) of the list, their mean, and how far a channel is spread: the sum of squared distances to it.
struct Box {
  size_t begin, end;
  std::array<double, 3> mean{}, spread{};

  Box(const std::vector<Counted>& colors, size_t first, size_t last) : begin(first), end(last) {
    double pixels = 0;
    for (size_t i = begin; i < end; ++i) pixels += static_cast<double>(colors[i].pixels);
    for (int c = 0; c < 3; ++c) {
      double sum = 0, squares = 0;
      for (size_t i = begin; i < end; ++i) {
        const double n = static_cast<double>(colors[i].pixels), v = colors[i].color[c];
        sum += n * v, squares += n * v * v;
      }
      mean[c] = sum / pixels, spread[c] = std::max(0.0, squares - sum * mean[c]);
    }
  }

  double total() const { return spread[0] + spread[1] + spread[2]; }
  int widest() const { return static_cast<int>(std::max_element(spread.begin(), spread.end()) - spread.begin()); }
  Color color() const {
    Color rounded;
    for (int c = 0; c < 3; ++c) rounded[c] = static_cast<uint8_t>(std::lround(mean[c]));
    return rounded;
  }
};

std::vector<Box> median_cut(std::vector<Counted>& colors) {
  std::vector<Box> boxes{Box(colors, 0, colors.size())};
  while (boxes.size() < kMost) {
    const auto largest =
        std::max_element(boxes.begin(), boxes.end(), [](const Box& a, const Box& b) { return a.total() < b.total(); });
    const Box box = *largest;
    const int c = box.widest();
    const auto first = colors.begin(),
               cut = std::stable_partition(first + box.begin, first + box.end,
                                           [&](const Counted&x) { return x.color[c] <= box.mean[c]; });
    const auto middle = static_cast<size_t>(cut - first);
    *largest = Box(colors, box.begin, middle);
    boxes.emplace_back(colors, middle, box.end);
  }
  return boxes;
}

}  // namespace

IndexedImage indexed(const ImageView& image) {
  const int64_t n = image.height * image.width;
  std::map<Color, int64_t> counts;
  for (int64_t i = 0; i < n; ++i) ++counts[color_at(image, i)];
  std::vector<Counted> colors;
  for (const auto& [color, pixels] : counts) colors.push_back({color, pixels});

  IndexedImage made{image.height, image.width, {}, {}};
  std::map<Color, uint8_t> number;
  const auto add = [&](Color color, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) number[colors[i].color] = static_cast<uint8_t>(made.colors.size());
    made.colors.push_back(color);
  };
  if (colors.size() <= kMost)
    for (size_t i = 0; i < colors.size(); ++i) add(colors[i].color, i, i + 1);
  else
    for (const Box& box : median_cut(colors)) add(box.color(), box.begin, box.end);
  for (int64_t i = 0; i < n; ++i) made.pixels.push_back(number[color_at(image, i)]);
  return made;
}

}  // namespace stipple
