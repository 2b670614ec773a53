#include "diffusion/image/canvas.h"

#include <algorithm>
#include <cmath>

#include "diffusion/image/stroke_font.h"

namespace stipple {
namespace {

double distance(Spot p, Spot a, Spot b) {
  const double dx = b.x - a.x, dy = b.y - a.y, square = dx * dx + dy * dy;
  const double t = square > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / square, 0.0, 1.0) : 0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

struct Pixels {
  int64_t left, top, right, bottom;
};

double unit(double size) { return size / kBaseLine; }

double advance(std::string_view strokes) {
  if (strokes.empty()) return 3;
  int widest = 0;
  for (size_t i = 0; i + 1 < strokes.size(); i += strokes[i] == ' ' ? 1 : 2)
    if (strokes[i] != ' ') widest = std::max(widest, strokes[i] - '0');
  return widest + 1.8;
}

std::vector<std::vector<Spot>> strokes_at(Spot base, std::string_view points, double scale) {
  std::vector<std::vector<Spot>> strokes(1);
  while (!points.empty()) {
    if (points[0] == ' ') {
      strokes.emplace_back();
      points.remove_prefix(1);
      continue;
    }
    strokes.back().push_back({base.x + scale * (points[0] - '0'), base.y + scale * (points[1] - '0' - kBaseLine)});
    points.remove_prefix(2);
  }
  return strokes;
}

bool continues_letter(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }  // UTF-8

}  // namespace

Canvas::Canvas(int64_t height, int64_t width, Colour background)
    : image_(height, width, 3), coverage_(static_cast<size_t>(height * width)) {
  for (int64_t i = 0; i < height * width; ++i) std::copy_n(background.data(), 3, image_.pixels.data() + 3 * i);
  clip_nothing();
}

void Canvas::clip(const Clip& c) { clip_ = c; }
void Canvas::clip_nothing() { clip_ = {0, 0, image_.width - 1.0, image_.height - 1.0}; }

void Canvas::line(const std::vector<Spot>& spots, double width, Colour colour, double opacity) {
  const double radius = width / 2, reach = radius + 1;
  const auto touched = [&](Spot a, Spot b) {
    return Pixels{std::lrint(std::max(clip_.left, std::floor(std::min(a.x, b.x) - reach))),
                  std::lrint(std::max(clip_.top, std::floor(std::min(a.y, b.y) - reach))),
                  std::lrint(std::min(clip_.right, std::ceil(std::max(a.x, b.x) + reach))),
                  std::lrint(std::min(clip_.bottom, std::ceil(std::max(a.y, b.y) + reach)))};
  };
  const auto each_pixel = [&](auto&& f) {
    for (size_t i = 0; i < spots.size(); ++i) {
      const Spot a = spots[i], b = spots[std::min(i + 1, spots.size() - 1)];
      const Pixels box = touched(a, b);
      for (int64_t y = box.top; y <= box.bottom; ++y)
        for (int64_t x = box.left; x <= box.right; ++x) f(y, x, coverage_[y * image_.width + x], a, b);
    }
  };
  each_pixel([&](int64_t y, int64_t x, float& covered, Spot a, Spot b) {
    const double inside = radius + 0.5 - distance({static_cast<double>(x), static_cast<double>(y)}, a, b);
    covered = std::max(covered, static_cast<float>(std::clamp(inside, 0.0, 1.0)));
  });
  each_pixel([&](int64_t y, int64_t x, float& covered, Spot, Spot) {
    uint8_t* pixel = image_.at(y, x);
    const double share = opacity * covered;
    for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(std::lrint(pixel[c] + share * (colour[c] - pixel[c])));
    covered = 0;
  });
}

void Canvas::text(Spot at, std::string_view text, double size, Colour colour, double weight) {
  for (char letter : text) {
    if (continues_letter(letter)) continue;
    for (const auto& stroke : strokes_at(at, strokes_of(letter), unit(size))) line(stroke, weight, colour);
    at.x += unit(size) * advance(strokes_of(letter));
  }
}

double Canvas::text_width(std::string_view text, double size) {
  double units = 0;
  for (char letter : text)
    if (!continues_letter(letter)) units += advance(strokes_of(letter));
  return unit(size) * units;
}

}  // namespace stipple
