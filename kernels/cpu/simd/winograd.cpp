#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vector.h"

// The transforms of Winograd's F(4x4, 3x3) (kernels/cpu/conv2d_winograd.h), channels side by side in vectors.
//
// Idea    The points are 0, a, -a, b, -b and infinity with a = 3/4 and b = 3/2. Opposite points share an even and an
//         odd half, a b near 1 keeps the matrices' entries small, and all of them but G's are exact in f32. While a
//         tile is transformed, the pixels of the next one are fetched: they lie four columns further.
// Costs   144 additions or multiply-adds, 72 loads and 72 stores a vector of 6x6 patches, half of them in L1.
// Seen    170 cycles a vector of input patches, bound by the stores to L2. The prefetches are worth 20 to 35 % of a
//         convolution of 32 channels.
// Tried   both passes of a transform unrolled: GCC spills more than it saves. The usual points 0, 1, -1, 2, -2: twice
//         the rounding error (1.7e-6 against 8.5e-7 at 64 channels).

namespace stipple::simd::STIPPLE_SIMD {

static constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b;
static constexpr float n_0 = 1 / (a2 * b2), n_a = 1 / (2 * a2 * (a2 - b2)), n_b = 1 / (2 * b2 * (b2 - a2));

// B^T d: six values of the input at the points.
struct InputMap {
  static constexpr int from = 6, to = 6;
  static inline void apply(Vec* o, const Vec* d) {
    const Vec even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
    const Vec even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
    o[0] = d[4] + a2 * b2 * d[0] - (a2 + b2) * d[2];
    o[1] = even_a + a * odd_a;
    o[2] = even_a - a * odd_a;
    o[3] = even_b + b * odd_b;
    o[4] = even_b - b * odd_b;
    o[5] = d[5] + a2 * b2 * d[1] - (a2 + b2) * d[3];
  }
};

// A^T m: four outputs from the products at the points.
struct OutputMap {
  static constexpr int from = 6, to = 4;
  static inline void apply(Vec* o, const Vec* m) {
    const Vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const Vec even_b = m[3] + m[4], odd_b = m[3] - m[4];
    o[0] = m[0] + even_a + even_b;
    o[1] = a * odd_a + b * odd_b;
    o[2] = a2 * even_a + b2 * even_b;
    o[3] = a * a2 * odd_a + b * b2 * odd_b + m[5];
  }
};

// A dy, its adjoint.
struct OutputGradientMap {
  static constexpr int from = 4, to = 6;
  static inline void apply(Vec* o, const Vec* y) {
    const Vec even_a = y[0] + a2 * y[2], odd_a = y[1] + a2 * y[3];
    const Vec even_b = y[0] + b2 * y[2], odd_b = y[1] + b2 * y[3];
    o[0] = y[0];
    o[1] = even_a + a * odd_a;
    o[2] = even_a - a * odd_a;
    o[3] = even_b + b * odd_b;
    o[4] = even_b - b * odd_b;
    o[5] = y[3];
  }
};

// G g: three weights at the points.
struct WeightMap {
  static constexpr int from = 3, to = 6;
  static inline void apply(Vec* o, const Vec* g) {
    const Vec even_a = n_a * (g[0] + a2 * g[2]), odd_a = n_a * a * g[1];
    const Vec even_b = n_b * (g[0] + b2 * g[2]), odd_b = n_b * b * g[1];
    o[0] = n_0 * g[0];
    o[1] = even_a + odd_a;
    o[2] = even_a - odd_a;
    o[3] = even_b + odd_b;
    o[4] = even_b - odd_b;
    o[5] = g[2];
  }
};

// G^T u, its adjoint.
struct WeightGradientMap {
  static constexpr int from = 6, to = 3;
  static inline void apply(Vec* o, const Vec* u) {
    const Vec even_a = n_a * (u[1] + u[2]), odd_a = n_a * a * (u[1] - u[2]);
    const Vec even_b = n_b * (u[3] + u[4]), odd_b = n_b * b * (u[3] - u[4]);
    o[0] = n_0 * u[0] + even_a + even_b;
    o[1] = odd_a + odd_b;
    o[2] = a2 * even_a + b2 * even_b + u[5];
  }
};

// A map along the columns and along the rows of a square; read(i, j) and write(i, j, value) say where elements lie.
template <typename Map, typename Read, typename Write>
[[gnu::always_inline]] static inline void transform(Read read, Write write) {
  Vec half[Map::to][Map::from];
#pragma GCC unroll 1
  for (int j = 0; j < Map::from; ++j) {
    Vec in[Map::from], out[Map::to];
#pragma GCC unroll 6
    for (int i = 0; i < Map::from; ++i) in[i] = read(i, j);
    Map::apply(out, in);
#pragma GCC unroll 6
    for (int i = 0; i < Map::to; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 1
  for (int i = 0; i < Map::to; ++i) {
    Vec in[Map::from], out[Map::to];
#pragma GCC unroll 6
    for (int j = 0; j < Map::from; ++j) in[j] = half[i][j];
    Map::apply(out, in);
#pragma GCC unroll 6
    for (int j = 0; j < Map::to; ++j) write(i, j, out[j]);
  }
}

// Bit Size * i + j says whether pixel (i, j) of a square exists.
template <int Size>
static inline uint64_t existing(const ImagePatch& x) {
  uint64_t bits = 0;
  for (int64_t i = x.row; i < x.row_end; ++i)
    for (int64_t j = x.column; j < x.column_end; ++j) bits |= uint64_t{1} << (Size * i + j);
  return bits;
}

template <int Size>
static constexpr uint64_t kWhole = (uint64_t{1} << (Size * Size)) - 1;

// The map of a patch of an image, zero where it reaches outside, to 36 planes.
template <typename Map>
static void to_points(float* v, int64_t plane, const ImagePatch& x) {
  constexpr int kSize = Map::from;
  const uint64_t exists = existing<kSize>(x);
  const int64_t row = x.row_step, column = x.column_step;
  for (int64_t c = 0; c < x.channels; c += kLanes) {
    const int64_t n = x.channels - c;
    const float* from = x.pixels + c;
    const auto write = [&](int i, int j, Vec value) { store(v + (i * Map::to + j) * plane + c, value); };
    const auto whole = [&](int i, int j) {
      __builtin_prefetch(from + i * row + (j + 4) * column);
      return load(from + i * row + j * column);
    };
    const auto part = [&](int i, int j) {
      __builtin_prefetch(from + i * row + (j + 4) * column);
      return exists >> (kSize * i + j) & 1 ? load_first(from + i * row + j * column, n) : Vec{};
    };
    if (exists == kWhole<kSize> && n >= kLanes)
      transform<Map>(whole, write);
    else
      transform<Map>(part, write);
  }
}

void winograd_input(float* v, int64_t plane, const ImagePatch& x) { to_points<InputMap>(v, plane, x); }
void winograd_output_gradient(float* v, int64_t plane, const ImagePatch& dy) {
  to_points<OutputGradientMap>(v, plane, dy);
}

void winograd_output(float* y, const ImagePatch& to, const float* m, int64_t plane, const float* bias) {
  const uint64_t exists = existing<4>(to);
  const int64_t row = to.row_step, column = to.column_step;
  for (int64_t c = 0; c < to.channels; c += kLanes) {
    const int64_t n = to.channels - c;
    const Vec shift = bias ? load_first(bias + c, n) : Vec{};
    const auto read = [&](int i, int j) {
      if (i < 4 && j < 4) __builtin_prefetch(y + i * row + (j + 4) * column + c, 1);
      return load(m + (i * 6 + j) * plane + c);
    };
    const auto whole = [&](int i, int j, Vec value) { store(y + i * row + j * column + c, value + shift); };
    const auto part = [&](int i, int j, Vec value) {
      if (exists >> (4 * i + j) & 1) store_first(y + i * row + j * column + c, value + shift, n);
    };
    if (exists == kWhole<4> && n >= kLanes)
      transform<OutputMap>(read, whole);
    else
      transform<OutputMap>(read, part);
  }
}

void winograd_weight(float* u, int64_t plane, const float* weight, int64_t tap_step, int64_t column_step,
                     int64_t columns) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    const int64_t n = columns - c < kLanes ? columns - c : kLanes;
    transform<WeightMap>(
        [&](int i, int j) {
          Vec taps{};
          for (int64_t lane = 0; lane < n; ++lane)
            taps[lane] = weight[(i * 3 + j) * tap_step + (c + lane) * column_step];
          return taps;
        },
        [&](int i, int j, Vec value) { store(u + (i * 6 + j) * plane + c, value); });
  }
}

void winograd_weight_gradient(float* dweight, bool add, const float* du, int64_t plane, int64_t channels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t n = channels - c;
    transform<WeightGradientMap>([&](int i, int j) { return load_first(du + (i * 6 + j) * plane + c, n); },
                                 [&](int i, int j, Vec value) {
                                   float* to = dweight + (i * 3 + j) * channels + c;
                                   store_first(to, add ? load_first(to, n) + value : value, n);
                                 });
  }
}

}  // namespace stipple::simd::STIPPLE_SIMD
