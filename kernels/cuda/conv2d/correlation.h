#pragma once
#include <cuda_runtime.h>

#include "kernels/conv2d.h"

// Convolution as kernels see it, for forward and both gradients.

namespace stipple::cuda {

// y[n, i, j, k] = bias[k] + sum_{r, s, c} x[n, i*stride + r - top, j*stride + s - left, c] weight[k, r, s, c],
// where x [images, h, w, c], weight [filters, r, s, c] and y has rows x columns pixels. x[n, i / scale, j / scale, c]
// where scale is 2: only the first two rungs read x so.
struct Correlation {
  int images, h, w, c;
  int filters, r, s;
  int rows, columns;
  int stride, top, left, scale;

  Correlation(const Shape& x, const Shape& weight, const Shape& y, const Conv2dOptions& o)
      : images(static_cast<int>(x[0])),
        h(static_cast<int>(x[1])),
        w(static_cast<int>(x[2])),
        c(static_cast<int>(x[3])),
        filters(static_cast<int>(weight[0])),
        r(static_cast<int>(weight[1])),
        s(static_cast<int>(weight[2])),
        rows(static_cast<int>(y[1])),
        columns(static_cast<int>(y[2])),
        stride(static_cast<int>(o.stride)),
        top(static_cast<int>(o.padding.top)),
        left(static_cast<int>(o.padding.left)),
        scale(o.upsample ? 2 : 1) {}

  __host__ __device__ int pixels() const { return images * rows * columns; }  // of y
  __host__ __device__ int window() const { return r * s * c; }                // elements of x that a pixel of y sees
};

// Where the pixels of y lie, in elements. They have gaps in the input gradient of a convolution with stride.
struct Placement {
  int64_t first, image, row, column;

  static Placement dense(const Correlation& g) {
    return {0, int64_t{g.rows} * g.columns * g.filters, int64_t{g.columns} * g.filters, g.filters};
  }
  __device__ int64_t operator()(const Correlation& g, int pixel) const {
    const int image_pixels = g.rows * g.columns, inside = pixel % image_pixels;
    return first + pixel / image_pixels * image + inside / g.columns * row + inside % g.columns * column;
  }
};

}  // namespace stipple::cuda
