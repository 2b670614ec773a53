#include "kernels/cpu/conv2d_oracle.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.h"

// Each output element is one sum in double, in the order the formula names its terms. Threads share out rows of
// outputs.

namespace stipple::cpu::oracle {
namespace {

// Calls f(row of x, row of the filter) for the filter rows of output row i that lie inside x.
template <typename F>
void for_taps(int64_t i, int64_t taps, int64_t extent, int64_t stride, int64_t padding, F&& f) {
  for (int64_t r = 0; r < taps; ++r)
    if (const int64_t h = i * stride + r - padding; h >= 0 && h < extent) f(h, r);
}

template <typename T>
double dot(const T* a, const T* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

template <typename T>
void write(T& to, bool add, double value) {
  to = static_cast<T>(add ? to + value : value);
}

}  // namespace

template <typename T>
void conv2d(T* y, const T* x, const T* weight, const T* bias, const ConvGeometry& g) {
  parallel_for(g.n * g.ho, [&](int64_t row) {
    const int64_t n = row / g.ho, i = row % g.ho;
    for (int64_t j = 0; j < g.wo; ++j)
      for (int64_t k = 0; k < g.k; ++k) {
        double sum = bias ? bias[k] : 0;
        for_taps(i, g.r, g.h, g.stride, g.top, [&](int64_t h, int64_t r) {
          for_taps(j, g.s, g.w, g.stride, g.left, [&](int64_t w, int64_t s) {
            sum += dot(x + ((n * g.h + h) * g.w + w) * g.c, weight + ((k * g.r + r) * g.s + s) * g.c, g.c);
          });
        });
        y[(row * g.wo + j) * g.k + k] = static_cast<T>(sum);
      }
  });
}

template <typename T>
void conv2d_input_gradient(T* dx, const T* dy, const T* weight, const ConvGeometry& g) {
  parallel_for(g.n, [&](int64_t n) {
    std::vector<double> image(g.h * g.w * g.c);
    for (int64_t i = 0; i < g.ho; ++i)
      for (int64_t j = 0; j < g.wo; ++j)
        for_taps(i, g.r, g.h, g.stride, g.top, [&](int64_t h, int64_t r) {
          for_taps(j, g.s, g.w, g.stride, g.left, [&](int64_t w, int64_t s) {
            for (int64_t k = 0; k < g.k; ++k) {
              const double upstream = dy[((n * g.ho + i) * g.wo + j) * g.k + k];
              for (int64_t c = 0; c < g.c; ++c)
                image[(h * g.w + w) * g.c + c] += upstream * weight[((k * g.r + r) * g.s + s) * g.c + c];
            }
          });
        });
    std::copy(image.begin(), image.end(), dx + n * g.h * g.w * g.c);
  });
}

template <typename T>
void conv2d_weight_gradient(T* dweight, bool add, const T* dy, const T* x, const ConvGeometry& g) {
  parallel_for(g.k, [&](int64_t k) {
    std::vector<double> filter(g.window());
    for (int64_t n = 0; n < g.n; ++n)
      for (int64_t i = 0; i < g.ho; ++i)
        for (int64_t j = 0; j < g.wo; ++j) {
          const double upstream = dy[((n * g.ho + i) * g.wo + j) * g.k + k];
          for_taps(i, g.r, g.h, g.stride, g.top, [&](int64_t h, int64_t r) {
            for_taps(j, g.s, g.w, g.stride, g.left, [&](int64_t w, int64_t s) {
              const T* from = x + ((n * g.h + h) * g.w + w) * g.c;
              for (int64_t c = 0; c < g.c; ++c) filter[(r * g.s + s) * g.c + c] += upstream * from[c];
            });
          });
        }
    for (int64_t e = 0; e < g.window(); ++e) write(dweight[k * g.window() + e], add, filter[e]);
  });
}

template <typename T>
void conv2d_bias_gradient(T* dbias, bool add, const T* dy, int64_t pixels, int64_t k) {
  std::vector<double> sums(k);
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t i = 0; i < k; ++i) sums[i] += dy[p * k + i];
  for (int64_t i = 0; i < k; ++i) write(dbias[i], add, sums[i]);
}

#define STIPPLE_INSTANTIATE(T)                                                                \
  template void conv2d<T>(T*, const T*, const T*, const T*, const ConvGeometry&);             \
  template void conv2d_input_gradient<T>(T*, const T*, const T*, const ConvGeometry&);        \
  template void conv2d_weight_gradient<T>(T*, bool, const T*, const T*, const ConvGeometry&); \
  template void conv2d_bias_gradient<T>(T*, bool, const T*, int64_t, int64_t);
STIPPLE_INSTANTIATE(float)
STIPPLE_INSTANTIATE(double)

}  // namespace stipple::cpu::oracle
