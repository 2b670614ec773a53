#pragma once
#include "tensor/tensor.h"

// Windows of r x s pixels, `stride` apart, sliding over images x [n,h,w,c] with zeros around them: the first begins at
// pixel (-top, -left) of each image, and there are rows x columns of them. Negative top and left cut pixels off.
//
// A strip is the part of an image that some rows of windows read, with its zeros written out:
// [strip_rows][strip_columns][c]. In it (and in x itself where no window reaches outside) s pixels of a window lie side
// by side, and the next window lies stride * c floats further: a matrix product can read it as it is, without im2col.

namespace stipple::cpu {

struct Windows {
  const float* x;
  int64_t h, w, c, r, s, stride, top, left, rows, columns;

  int64_t strip_rows(int64_t window_rows) const { return (window_rows - 1) * stride + r; }
  int64_t strip_columns() const { return (columns - 1) * stride + s; }
  int64_t strip_row() const { return strip_columns() * c; }  // floats
  int64_t strip_floats(int64_t window_rows) const { return strip_rows(window_rows) * strip_row(); }
  int64_t run() const { return s * c; }  // floats of a window side by side
  bool inside() const { return top == 0 && left == 0 && strip_rows(rows) <= h && strip_columns() <= w; }
};

// What window rows [begin, end) of image n read. The strip has 64 floats of slack, which vectors may read.
void copy_strip(float* strip, const Windows&, int64_t n, int64_t begin, int64_t end);
inline constexpr int64_t kStripSlack = 64;

}  // namespace stipple::cpu
