#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/quad.h"
#include "kernels/cpu/simd/vector.h"

// The lane-wise half of attention: queries are lanes, keys are rows, so that maxima and sums over keys never cross
// lanes.

namespace stipple::simd::STIPPLE_SIMD {

static inline void transpose_4x4(float* to, int64_t to_row, const float* from, int64_t from_row, float scale) {
  Quad rows[4];
  for (int i = 0; i < 4; ++i) rows[i] = load_quad(from + i * from_row) * scale;
  transpose(rows);
  for (int i = 0; i < 4; ++i) store_quad(to + i * to_row, rows[i]);
}

void transpose(float* to, int64_t to_row, const float* from, int64_t from_row, int64_t rows, int64_t columns,
               float scale) {
  for (int64_t r = 0; r < rows; r += 4)
    for (int64_t c = 0; c < columns; c += 4) {
      if (r + 4 <= rows && c + 4 <= columns) {
        transpose_4x4(to + c * to_row + r, to_row, from + r * from_row + c, from_row, scale);
        continue;
      }
      for (int64_t i = r; i < r + 4 && i < rows; ++i)
        for (int64_t j = c; j < c + 4 && j < columns; ++j) to[j * to_row + i] = scale * from[i * from_row + j];
    }
}

void softmax_columns(float* s, float* largest, float* total, float* rescale, int64_t rows, int64_t columns,
                     int64_t row) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vec before = load(largest + c);
    Vec m = before, sum{};
    for (int64_t r = 0; r < rows; ++r) m = max(m, load(s + r * row + c));
    for (int64_t r = 0; r < rows; ++r) {
      const Vec p = exp2_of_negative(load(s + r * row + c) - m);
      store(s + r * row + c, p);
      sum += p;
    }
    const Vec factor = exp2_of_negative(before - m);
    store(rescale + c, factor);
    store(total + c, load(total + c) * factor + sum);
    store(largest + c, m);
  }
}

void softmax_columns_backward(float* s, float* dp, const float* lse, const float* delta, int64_t rows, int64_t columns,
                              int64_t row) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vec shift = load(lse + c), mean = load(delta + c);
    for (int64_t at = c; at < c + rows * row; at += row) {
      const Vec p = exp2_of_negative(load(s + at) - shift);
      store(s + at, p);
      store(dp + at, p * (load(dp + at) - mean));
    }
  }
}

void scale_columns(float* x, const float* factor, int64_t rows, int64_t columns, int64_t row) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; c += kLanes) store(x + r * row + c, load(x + r * row + c) * load(factor + c));
}

}  // namespace stipple::simd::STIPPLE_SIMD
