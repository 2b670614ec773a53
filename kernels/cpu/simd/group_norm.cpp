#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

// Sums of columns: kBlock vectors side by side keep their sums in registers over a run of rows, in f32; runs meet in
// double, so that rounding does not grow with the picture.

namespace stipple::simd::STIPPLE_SIMD {

constexpr int kBlock = kRegisters / 4;
constexpr int64_t kRun = 8;  // rows

// How many lanes of a vector exist: all of them, or the first n at the end of a row.
struct Whole {
  Vec load(const float* p) const { return simd::STIPPLE_SIMD::load(p); }
  int64_t count() const { return kLanes; }
};
struct First {
  int64_t n;
  Vec load(const float* p) const { return load_first(p, n); }
  int64_t count() const { return n; }
};

// first[c] += sum of a, second[c] += sum of b over a run of rows, where f(offset, column, lanes, a, b) adds the two
// terms of one row; for `Blocks` vectors of columns from `column` on.
template <int Blocks, typename Lanes, typename F>
static inline void sum_run(double* first, double* second, int64_t row, int64_t rows, int64_t columns, int64_t column,
                           Lanes lanes, const F& f) {
  Vec sums[Blocks] = {}, others[Blocks] = {};
  for (int64_t r = row; r < row + rows; ++r)
    for (int b = 0; b < Blocks; ++b)
      f(r * columns + column + b * kLanes, column + b * kLanes, lanes, sums[b], others[b]);
  for (int b = 0; b < Blocks; ++b) {
    add_in_double(first + column + b * kLanes, sums[b], lanes.count());
    add_in_double(second + column + b * kLanes, others[b], lanes.count());
  }
}

// The columns from `column` on, as many vectors at once as there are; returns where it stopped, before a last broken
// vector.
template <int Blocks, typename F>
static inline int64_t sum_vectors(double* first, double* second, int64_t row, int64_t rows, int64_t columns,
                                  int64_t column, const F& f) {
  for (; column + Blocks * kLanes <= columns; column += Blocks * kLanes)
    sum_run<Blocks>(first, second, row, rows, columns, column, Whole{}, f);
  if constexpr (Blocks > 1) return sum_vectors<Blocks / 2>(first, second, row, rows, columns, column, f);
  return column;
}

template <typename F>
static inline void sum_columns(double* first, double* second, int64_t rows, int64_t columns, const F& f) {
  for (int64_t row = 0; row < rows; row += kRun) {
    const int64_t run = rows - row < kRun ? rows - row : kRun;
    const int64_t c = sum_vectors<kBlock>(first, second, row, run, columns, 0, f);
    if (c < columns) sum_run<1>(first, second, row, run, columns, c, First{columns - c}, f);
  }
}

// to[i] = f(offset, column, lanes) over the whole matrix
template <typename F>
static inline void map(float* to, int64_t rows, int64_t columns, const F& f) {
  for (int64_t at = 0; at < rows * columns; at += columns) {
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) store(to + at + c, f(at + c, c, Whole{}));
    if (c < columns) store_first(to + at + c, f(at + c, c, First{columns - c}), columns - c);
  }
}

void column_moments(double* sum, double* squares, const float* x, const float* shift, int64_t rows, int64_t columns) {
  sum_columns(sum, squares, rows, columns, [=](int64_t at, int64_t c, auto lanes, Vec& total, Vec& total_squares) {
    const Vec d = lanes.load(x + at) - lanes.load(shift + c);
    total += d;
    total_squares += d * d;
  });
}

// dz at dy, where x is centred
template <bool Silu, typename Lanes>
static inline Vec dz_of(const float* dy, Vec x, const NormColumns& k, int64_t c, Lanes lanes) {
  if (!Silu) return lanes.load(dy);
  return lanes.load(dy) * silu_slope(lanes.load(k.scale + c) * x + lanes.load(k.bias + c));
}

template <bool Silu>
static void forward(float* y, const float* x, const NormColumns& k, int64_t rows, int64_t columns) {
  map(y, rows, columns, [=](int64_t at, int64_t c, auto lanes) {
    const Vec z = lanes.load(k.scale + c) * (lanes.load(x + at) - lanes.load(k.mean + c)) + lanes.load(k.bias + c);
    return Silu ? z * sigmoid(z) : z;
  });
}

template <bool Silu>
static void sums(double* dz, double* dz_x, const float* dy, const float* x, const NormColumns& k, int64_t rows,
                 int64_t columns) {
  sum_columns(dz, dz_x, rows, columns, [=](int64_t at, int64_t c, auto lanes, Vec& total, Vec& total_x) {
    const Vec centred = lanes.load(x + at) - lanes.load(k.mean + c);
    const Vec d = dz_of<Silu>(dy + at, centred, k, c, lanes);
    total += d;
    total_x += d * centred;
  });
}

template <bool Silu>
static void backward(float* dx, const float* dy, const float* x, const NormColumns& k, int64_t rows, int64_t columns) {
  map(dx, rows, columns, [=](int64_t at, int64_t c, auto lanes) {
    const Vec centred = lanes.load(x + at) - lanes.load(k.mean + c);
    const Vec dz = dz_of<Silu>(dy + at, centred, k, c, lanes);
    return lanes.load(k.scale + c) * dz - lanes.load(k.pull + c) - lanes.load(k.slope + c) * centred;
  });
}

void normalize(float* y, const float* x, const NormColumns& k, int64_t rows, int64_t columns, bool silu) {
  silu ? forward<true>(y, x, k, rows, columns) : forward<false>(y, x, k, rows, columns);
}

void normalize_sums(double* dz, double* dz_x, const float* dy, const float* x, const NormColumns& k, int64_t rows,
                    int64_t columns, bool silu) {
  silu ? sums<true>(dz, dz_x, dy, x, k, rows, columns) : sums<false>(dz, dz_x, dy, x, k, rows, columns);
}

void normalize_backward(float* dx, const float* dy, const float* x, const NormColumns& k, int64_t rows, int64_t columns,
                        bool silu) {
  silu ? backward<true>(dx, dy, x, k, rows, columns) : backward<false>(dx, dy, x, k, rows, columns);
}

}  // namespace stipple::simd::STIPPLE_SIMD
