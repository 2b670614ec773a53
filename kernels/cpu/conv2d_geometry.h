#pragma once
#include "kernels/conv2d.h"

// The extents of one convolution under the names of kernels/conv2d.h: x [n,h,w,c], weight [k,r,s,c], y [n,ho,wo,k].

namespace stipple::cpu {

struct ConvGeometry {
  int64_t n, h, w, c, k, r, s, ho, wo, stride, top, left;

  ConvGeometry(const Shape& x, const Shape& weight, const Shape& y, const Conv2dOptions& o)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        c(x[3]),
        k(weight[0]),
        r(weight[1]),
        s(weight[2]),
        ho(y[1]),
        wo(y[2]),
        stride(o.stride),
        top(o.padding.top),
        left(o.padding.left) {}

  int64_t pixels() const { return n * ho * wo; }
  int64_t window() const { return r * s * c; }  // elements that one output pixel reads
};

}  // namespace stipple::cpu
