#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/vector.h"

// Sums of columns: kBlock vectors side by side keep their sums in registers over a run of rows; runs meet in double, so
// that rounding does not grow with the picture. All is written once for vectors of floats and of doubles, V: the latter
// take twice the instructions (three times the time, SiLU included) and leave only the rounding of what is stored.

namespace stipple::simd::STIPPLE_SIMD {

constexpr int kBlock = kRegisters / 4;
constexpr int64_t kRun = 8;  // rows

template <typename V>
struct Lanes;
template <>
struct Lanes<Vec> {
  using Real = float;
  static constexpr int kCount = kLanes;
  static Vec load(const float* p) { return simd::STIPPLE_SIMD::load(p); }
};
template <>
struct Lanes<DoubleVec> {
  using Real = double;
  static constexpr int kCount = kHalf;
  static DoubleVec load(const float* p) { return load_wide(p); }
  static DoubleVec load(const double* p) {
    DoubleVec v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
};

static inline void store(float* p, DoubleVec v) {
  const HalfVec rounded = __builtin_convertvector(v, HalfVec);
  __builtin_memcpy(p, &rounded, sizeof rounded);
}

// How many lanes of a vector exist: all of them, or the first n at the end of a row.
template <typename V>
struct Whole {
  template <typename T>
  V load(const T* p) const {
    return Lanes<V>::load(p);
  }
  void put(float* p, V v) const { store(p, v); }
  int64_t count() const { return Lanes<V>::kCount; }
};
template <typename V>
struct First {
  int64_t n;
  template <typename T>
  V load(const T* p) const {
    V v{};
    for (int64_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
  }
  void put(float* p, V v) const {
    for (int64_t i = 0; i < n; ++i) p[i] = (float)v[i];
  }
  int64_t count() const { return n; }
};

// first[c] += sum of a, second[c] += sum of b over a run of rows, where f(row, column, lanes, a, b) adds the two terms
// of one row; for `Blocks` vectors of columns from `column` on.
template <typename V, int Blocks, typename Some, typename F>
static inline void sum_run(double* first, double* second, int64_t row, int64_t rows, int64_t column, Some lanes,
                           const F& f) {
  constexpr int kCount = Lanes<V>::kCount;
  V sums[Blocks] = {}, others[Blocks] = {};
  for (int64_t r = row; r < row + rows; ++r)
    for (int b = 0; b < Blocks; ++b) f(r, column + b * kCount, lanes, sums[b], others[b]);
  for (int b = 0; b < Blocks; ++b) {
    add_in_double(first + column + b * kCount, sums[b], lanes.count());
    add_in_double(second + column + b * kCount, others[b], lanes.count());
  }
}

// The columns from `column` on, as many vectors at once as there are; returns where it stopped, before a last broken
// vector.
template <typename V, int Blocks, typename F>
static inline int64_t sum_vectors(double* first, double* second, int64_t row, int64_t rows, int64_t columns,
                                  int64_t column, const F& f) {
  constexpr int kCount = Lanes<V>::kCount;
  for (; column + Blocks * kCount <= columns; column += Blocks * kCount)
    sum_run<V, Blocks>(first, second, row, rows, column, Whole<V>{}, f);
  if constexpr (Blocks > 1) return sum_vectors<V, Blocks / 2>(first, second, row, rows, columns, column, f);
  return column;
}

template <typename V, typename F>
static inline void sum_columns(double* first, double* second, int64_t rows, int64_t columns, const F& f) {
  for (int64_t row = 0; row < rows; row += kRun) {
    const int64_t run = rows - row < kRun ? rows - row : kRun;
    const int64_t c = sum_vectors<V, kBlock>(first, second, row, run, columns, 0, f);
    if (c < columns) sum_run<V, 1>(first, second, row, run, c, First<V>{columns - c}, f);
  }
}

// to[i] = f(row, column, lanes) over the whole matrix, whose rows lie `step` apart
template <typename V, typename F>
static inline void map(float* to, int64_t step, int64_t rows, int64_t columns, const F& f) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int64_t r = 0; r < rows; ++r, to += step) {
    int64_t c = 0;
    for (; c + kCount <= columns; c += kCount) store(to + c, f(r, c, Whole<V>{}));
    const First<V> rest{columns - c};
    if (rest.n > 0) rest.put(to + c, f(r, c, rest));
  }
}

template <typename V>
using Columns = NormColumns<typename Lanes<V>::Real>;

template <typename V>
static void moments(double* sum, double* squares, const float* x, const typename Lanes<V>::Real* shift, int64_t rows,
                    int64_t columns) {
  sum_columns<V>(sum, squares, rows, columns, [=](int64_t r, int64_t c, auto lanes, V& total, V& total_squares) {
    const V d = lanes.load(x + r * columns + c) - lanes.load(shift + c);
    total += d;
    total_squares += d * d;
  });
}

// dz at dy, where x is centred
template <bool Silu, typename V, typename Some>
static inline V dz_of(const float* dy, V x, const Columns<V>& k, int64_t c, Some lanes) {
  if (!Silu) return lanes.load(dy);
  return lanes.load(dy) * silu_slope(lanes.load(k.scale + c) * x + lanes.load(k.bias + c));
}

template <bool Silu, typename V>
static void forward(float* y, int64_t step, const float* x, const Columns<V>& k, int64_t rows, int64_t columns) {
  map<V>(y, step, rows, columns, [=](int64_t r, int64_t c, auto lanes) {
    const V z =
        lanes.load(k.scale + c) * (lanes.load(x + r * columns + c) - lanes.load(k.mean + c)) + lanes.load(k.bias + c);
    return Silu ? z * sigmoid(z) : z;
  });
}

template <bool Silu, typename V>
static void sums(double* dz, double* dz_x, const float* dy, int64_t step, const float* x, const Columns<V>& k,
                 int64_t rows, int64_t columns) {
  sum_columns<V>(dz, dz_x, rows, columns, [=](int64_t r, int64_t c, auto lanes, V& total, V& total_x) {
    const V centred = lanes.load(x + r * columns + c) - lanes.load(k.mean + c);
    const V d = dz_of<Silu>(dy + r * step + c, centred, k, c, lanes);
    total += d;
    total_x += d * centred;
  });
}

template <bool Silu, typename V>
static void backward(float* dx, const float* dy, int64_t step, const float* x, const Columns<V>& k, int64_t rows,
                     int64_t columns) {
  map<V>(dx, columns, rows, columns, [=](int64_t r, int64_t c, auto lanes) {
    const V centred = lanes.load(x + r * columns + c) - lanes.load(k.mean + c);
    const V dz = dz_of<Silu>(dy + r * step + c, centred, k, c, lanes);
    return lanes.load(k.scale + c) * dz - lanes.load(k.pull + c) - lanes.load(k.slope + c) * centred;
  });
}

template <typename V>
static void either_forward(float* y, int64_t step, const float* x, const Columns<V>& k, int64_t rows, int64_t columns,
                           bool silu) {
  silu ? forward<true, V>(y, step, x, k, rows, columns) : forward<false, V>(y, step, x, k, rows, columns);
}

template <typename V>
static void either_sums(double* dz, double* dz_x, const float* dy, int64_t step, const float* x, const Columns<V>& k,
                        int64_t rows, int64_t columns, bool silu) {
  silu ? sums<true, V>(dz, dz_x, dy, step, x, k, rows, columns)
       : sums<false, V>(dz, dz_x, dy, step, x, k, rows, columns);
}

template <typename V>
static void either_backward(float* dx, const float* dy, int64_t step, const float* x, const Columns<V>& k, int64_t rows,
                            int64_t columns, bool silu) {
  silu ? backward<true, V>(dx, dy, step, x, k, rows, columns) : backward<false, V>(dx, dy, step, x, k, rows, columns);
}

const GroupNormLoops<float> group_norm = {moments<Vec>, either_forward<Vec>, either_sums<Vec>, either_backward<Vec>};
const GroupNormLoops<double> group_norm_in_double = {moments<DoubleVec>, either_forward<DoubleVec>,
                                                     either_sums<DoubleVec>, either_backward<DoubleVec>};

}  // namespace stipple::simd::STIPPLE_SIMD
