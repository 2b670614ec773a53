#pragma once
#include <vector>

namespace stipple {

struct Point {
  float x, y;
};  // in a unit box, y downwards

// Points that a pen passes in a smooth curve. A corner is where two strokes meet.
using Stroke = std::vector<Point>;

struct Way {
  float weight;  // how often people write the digit this way, among its ways
  std::vector<Stroke> strokes;
};

const std::vector<Way>& ways_to_write(int digit);

}  // namespace stipple
