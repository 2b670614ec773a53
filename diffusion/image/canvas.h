#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "diffusion/image/image.h"

namespace stipple {

using Colour = std::array<uint8_t, 3>;

struct Spot {
  double x, y;
};  // pixels; (0, 0) is the middle of the top left one

// Antialiased lines and text on an RGB picture.
class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Colour background);

  // What is drawn from now on stays inside. Bounds are inclusive.
  struct Clip {
    double left, top, right, bottom;
  };
  void clip(const Clip&);
  void clip_nothing();

  // A round pen along the spots; where the line crosses itself it is no darker. One spot, or twice the same, is a dot.
  void line(const std::vector<Spot>&, double width, Colour, double opacity = 1);

  // In the letters of stroke_font.h: `size` is the height of capitals, `at` the left end of the base line.
  void text(Spot at, std::string_view, double size, Colour, double weight = 1.4);
  static double text_width(std::string_view, double size);

  const Image& image() const { return image_; }

 private:
  Image image_;
  Clip clip_;
  std::vector<float> coverage_;  // of the line being drawn, [H, W]
};

}  // namespace stipple
