#include "kernels/cpu/conv2d_strip.h"

#include <algorithm>

namespace stipple::cpu {

void copy_strip(float* strip, const Windows& o, int64_t n, int64_t begin, int64_t end) {
  const int64_t columns = o.strip_columns();
  // Columns [first, last) of the strip lie in the image.
  const int64_t first = std::clamp<int64_t>(o.left, 0, columns), last = std::clamp(o.w + o.left, first, columns);
  for (int64_t row = 0; row < o.strip_rows(end - begin); ++row, strip += columns * o.c) {
    const int64_t h = begin * o.stride + row - o.top;
    if (h < 0 || h >= o.h) {
      std::fill_n(strip, columns * o.c, 0.f);
      continue;
    }
    std::fill_n(strip, first * o.c, 0.f);
    if (last > first)
      std::copy_n(o.x + ((n * o.h + h) * o.w + first - o.left) * o.c, (last - first) * o.c, strip + first * o.c);
    std::fill(strip + last * o.c, strip + columns * o.c, 0.f);
  }
}

}  // namespace stipple::cpu
