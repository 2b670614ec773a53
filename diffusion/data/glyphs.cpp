#include "diffusion/data/glyphs.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "diffusion/data/block.h"
#include "diffusion/data/glyph_strokes.h"
#include "diffusion/image/resize.h"
#include "tensor/error.h"
#include "tensor/random.h"

// Only +, -, *, / and square roots, so that the pictures are the same with any mathematical library.

namespace stipple {
namespace {

// What one picture has at hand: numbers from blocks of its own.
class Draw {
 public:
  Draw(uint64_t seed, int64_t index) {
    constexpr uint64_t kBlocks = 64;  // more than a picture takes
    PhiloxGenerator random(seed ^ 0x676C797068, static_cast<uint64_t>(index) * kBlocks);
    random.uniform(uniform_.data(), uniform_.size());
    random.normal(normal_.data(), normal_.size());
  }

  float uniform(float low, float high) { return low + (high - low) * uniform_[used_uniform_++]; }
  float normal(float deviation) { return deviation * std::clamp(normal_[used_normal_++], -2.5f, 2.5f); }

 private:
  std::array<float, 16> uniform_;
  std::array<float, 144> normal_;
  size_t used_uniform_ = 0, used_normal_ = 0;
};

Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
Point operator*(float s, Point a) { return {s * a.x, s * a.y}; }

const Way& choose_way(int64_t digit, Draw& draw) {
  const auto& ways = ways_to_write(static_cast<int>(digit));
  float total = 0;
  for (const Way& way : ways) total += way.weight;
  float left = draw.uniform(0, total);
  for (const Way& way : ways)
    if ((left -= way.weight) < 0) return way;
  return ways.back();
}

// Points inside a stroke move on their own; its ends stay, because other strokes may begin there.
void jitter(std::vector<Stroke>& strokes, Draw& draw) {
  constexpr float kDeviation = 0.026f;
  for (Stroke& stroke : strokes)
    for (size_t i = 1; i + 1 < stroke.size(); ++i)
      stroke[i] = stroke[i] + Point{draw.normal(kDeviation), draw.normal(kDeviation)};
}

// The Catmull-Rom curve through the points, as a line of short pieces. Its ends go on straight.
Stroke smoothed(const Stroke& points) {
  constexpr int kPieces = 6;  // between two points
  const int last = static_cast<int>(points.size()) - 1;
  const auto at = [&](int i) {
    if (i < 0) return 2 * points[0] - points[1];
    return i > last ? 2 * points[last] - points[last - 1] : points[i];
  };
  Stroke line{points[0]};
  for (int i = 0; i < last; ++i)
    for (int k = 1; k <= kPieces; ++k) {
      const float t = static_cast<float>(k) / kPieces;
      const Point a = at(i - 1), b = at(i), c = at(i + 1), d = at(i + 2);
      const Point linear = c - a, square = 2 * a - 5 * b + 4 * c - d, cube = 3 * (b - c) + d - a;
      line.push_back(b + 0.5f * (t * linear + t * t * square + t * t * t * cube));
    }
  return line;
}

std::array<float, 4> bernstein(float t) {
  const float s = 1 - t;
  return {s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t};
}

// A cubic free-form deformation of the unit box: 4 x 4 handles are pulled about (Sederberg & Parry 1986).
struct Warp {
  std::array<Point, 16> pulls;

  explicit Warp(Draw& draw) {
    constexpr float kDeviation = 0.11f;
    for (Point& pull : pulls) pull = {draw.normal(kDeviation), draw.normal(kDeviation)};
  }

  Point operator()(Point p) const {
    const auto across = bernstein(p.x), down = bernstein(p.y);
    for (int i = 0; i < 16; ++i) p = p + across[i % 4] * down[i / 4] * pulls[i];
    return p;
  }
};

// Narrower, slanted, turned.
struct Affine {
  float width, slant, cosine, sine;

  explicit Affine(Draw& draw) : width(draw.uniform(0.55f, 1.0f)), slant(0.14f + draw.normal(0.18f)) {
    const float half_tangent = draw.normal(0.06f);
    cosine = (1 - half_tangent * half_tangent) / (1 + half_tangent * half_tangent);
    sine = 2 * half_tangent / (1 + half_tangent * half_tangent);
  }

  Point operator()(Point p) const {
    const float y = p.y - 0.5f, x = width * (p.x - 0.5f) - slant * y;
    return {cosine * x - sine * y, sine * x + cosine * y};
  }
};

struct Box {
  Point low, high;
};

Box box_of(const std::vector<Stroke>& lines) {
  Box box{lines[0][0], lines[0][0]};
  for (const Stroke& line : lines)
    for (Point p : line) {
      box.low = {std::min(box.low.x, p.x), std::min(box.low.y, p.y)};
      box.high = {std::max(box.high.x, p.x), std::max(box.high.y, p.y)};
    }
  return box;
}

// To the middle of the picture, the longer side `side` pixels long.
void place(std::vector<Stroke>& lines, float side) {
  const Box box = box_of(lines);
  const Point extent = box.high - box.low, middle = 0.5f * (box.low + box.high);
  const float scale = side / std::max(extent.x, extent.y), center = (kGlyphSide - 1) / 2.0f;
  for (Stroke& line : lines)
    for (Point& p : line) p = scale * (p - middle) + Point{center, center};
}

float distance(Point p, Point a, Point b) {
  const Point along = b - a, to = p - a;
  const float square = along.x * along.x + along.y * along.y;
  const float t = square > 0 ? std::clamp((to.x * along.x + to.y * along.y) / square, 0.0f, 1.0f) : 0;
  const Point off = to - t * along;
  return std::sqrt(off.x * off.x + off.y * off.y);
}

// The pen: its radius goes from the one to the other along a stroke, and its edge fades over `softness` pixels.
struct Pen {
  float from, to, softness;
};

using Depths = std::array<float, kGlyphSide * kGlyphSide>;  // how far each pixel lies inside the ink, negative outside

void ink(Depths& depths, Point a, Point b, float radius) {
  const float reach = radius + 2;
  const auto first = [&](float u, float v) {
    return std::max<int64_t>(0, static_cast<int64_t>(std::min(u, v) - reach));
  };
  const auto last = [&](float u, float v) {
    return std::min<int64_t>(kGlyphSide - 1, static_cast<int64_t>(std::max(u, v) + reach));
  };
  for (int64_t y = first(a.y, b.y); y <= last(a.y, b.y); ++y)
    for (int64_t x = first(a.x, b.x); x <= last(a.x, b.x); ++x) {
      float& depth = depths[y * kGlyphSide + x];
      depth = std::max(depth, radius - distance({static_cast<float>(x), static_cast<float>(y)}, a, b));
    }
}

Image rendered(const std::vector<Stroke>& lines, const Pen& pen) {
  Depths depths;
  depths.fill(-100);
  for (const Stroke& line : lines)
    for (size_t i = 0; i + 1 < line.size(); ++i)
      ink(depths, line[i], line[i + 1], pen.from + (pen.to - pen.from) * i / line.size());
  Image image(kGlyphSide, kGlyphSide, 1);
  for (size_t i = 0; i < depths.size(); ++i)
    image.pixels[i] = static_cast<uint8_t>(255 * std::clamp(0.5f + depths[i] / pen.softness, 0.0f, 1.0f) + 0.5f);
  return image;
}

}  // namespace

Image draw_glyph(int64_t digit, uint64_t seed, int64_t index) {
  check(digit >= 0 && digit <= 9, "draw_glyph: digit {}", digit);
  Draw draw(seed, index);
  std::vector<Stroke> lines = choose_way(digit, draw).strokes;
  jitter(lines, draw);
  const Warp warp(draw);
  const Affine affine(draw);
  const float radius = draw.uniform(0.8f, 1.9f);
  const Pen pen{radius * draw.uniform(0.85f, 1.15f), radius * draw.uniform(0.8f, 1.1f), draw.uniform(0.8f, 1.3f)};
  for (Stroke& line : lines) {
    line = smoothed(line);
    for (Point& p : line) p = affine(warp(p));
  }
  place(lines, draw.uniform(18, 20) - radius);
  return rendered(lines, pen);
}

Dataset make_glyphs(int64_t count, uint64_t seed, const DatasetOptions& o) {
  check(count > 0, "glyphs: {} pictures asked for", count);
  const Plan plan = uniform_plan(count, {kGlyphSide, kGlyphSide}, 1, o);
  const auto draw = [&](int64_t i) { return with_channels(fitted(draw_glyph(i % 10, seed, i), o), plan.channels); };
  Dataset set = assemble(plan, draw, o, fmt::format("glyphs {} {}", count, seed));
  set.name = "glyphs";
  for (int64_t i = 0; i < count; ++i) set.labels.push_back(i % 10);
  for (int64_t digit = 0; digit < 10; ++digit) set.class_names.push_back(std::to_string(digit));
  return set;
}

}  // namespace stipple
