#include "kernels/group_norm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "kernels/cpu/group_norm_oracle.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

// The fast group_norm (the formulas as loops are group_norm_oracle.cpp), on f32, its arithmetic in Real: two passes
// over an image, sums and map, the second mostly from cache.
//
// Groups do not matter to either pass: both see an image as a matrix whose columns are channels, and sums of columns
// are folded into groups afterwards. So two inputs are two matrices, which y has side by side. Where the channels of a
// single one are few or odd, several pixels make one row, so that rows fill whole vectors. Large images are cut into
// pieces; sums of pieces meet in a fixed order, whoever computed them.

// Some rows of one input: where they begin there and in y, and the first of their columns among those of y.
struct Rows {
  size_t input;
  int64_t x, y, column, rows, columns;
};

struct Cut : GroupNormExtents {
  static constexpr int64_t kPieceElements = 1 << 15, kMostPieces = 16;
  static constexpr int64_t kManyImages = 8;  // so many keep all threads busy without cutting

  std::array<int64_t, 2> input_channels;
  int64_t row_pixels, columns, rows, piece_rows, pieces;  // pixels at the end that fill no row belong to the last piece
  std::vector<int64_t> group;                             // of every channel

  Cut(const Concat<Tensor>& x, int64_t group_count)
      : GroupNormExtents(concat_shape(x), group_count), input_channels{x.a.dim(-1), x.b_channels()} {
    row_pixels = x.b.defined() ? 1 : pixels_of_a_row();
    columns = row_pixels * channels;
    rows = pixels / row_pixels;
    piece_rows = std::max((rows + kMostPieces - 1) / kMostPieces, kPieceElements / columns + 1);
    pieces = (rows + piece_rows - 1) / piece_rows;
    for (int64_t c = 0; c < channels; ++c) group.push_back(c / width);
  }

  // f(Rows) for the matrices, one or two, that make a piece
  template <typename F>
  void for_matrices(int64_t n, int64_t piece, F&& f) const {
    const int64_t first = piece * piece_rows, last = std::min(rows, first + piece_rows);
    int64_t column = 0;
    for (const size_t input : {0, 1}) {
      const int64_t own = row_pixels * input_channels[input];
      const int64_t x = n * pixels * input_channels[input] + first * own, y = image(n) + first * columns + column;
      if (own > 0) f(Rows{input, x, y, column, last - first, own});
      column += own;
    }
    const int64_t rest = pixels * channels - rows * columns, at = image(n) + rows * columns;
    if (last == rows && rest > 0) f(Rows{0, at, at, 0, 1, rest});
  }

  // Channel c of the first pixel of image n.
  float first_of(const std::array<const float*, 2>& x, int64_t n, int64_t c) const {
    const int64_t a = input_channels[0], b = input_channels[1];
    return c < a ? x[0][n * pixels * a + c] : x[1][n * pixels * b + c - a];
  }

 private:
  int64_t image(int64_t n) const { return n * pixels * channels; }  // where it begins in y
  int64_t pixels_of_a_row() const {
    const int64_t lanes = simd::table().lanes;
    int64_t count = lanes / std::gcd(lanes, channels);
    while (count * channels < 4 * lanes) count *= 2;
    return std::min(count, pixels);
  }
};

// pass.sum(image, piece) for all pieces, pass.finish(image), then pass.map(image, piece). Many images: one thread an
// image, which it finds in its cache the second time.
template <typename Pass>
void run(Pass& pass, const Cut& cut) {
  if (cut.images < Cut::kManyImages) {
    parallel_for(cut.images * cut.pieces, [&](int64_t i) { pass.sum(i / cut.pieces, i % cut.pieces); });
    for (int64_t n = 0; n < cut.images; ++n) pass.finish(n);
    return parallel_for(cut.images * cut.pieces, [&](int64_t i) { pass.map(i / cut.pieces, i % cut.pieces); });
  }
  parallel_for(cut.images, [&](int64_t n) {
    for (int64_t i = 0; i < cut.pieces; ++i) pass.sum(n, i);
    pass.finish(n);
    for (int64_t i = 0; i < cut.pieces; ++i) pass.map(n, i);
  });
}

struct Sums {
  double first = 0, second = 0;
  void operator+=(const Sums& other) { first += other.first, second += other.second; }
};

// Two sums a column.
struct ColumnSums {
  std::vector<double> first, second;

  explicit ColumnSums(const Cut& cut) : first(cut.columns), second(cut.columns) {}
  // to[bin(channel)] += the sums of the columns of that channel
  template <typename F>
  void fold(Sums* to, int64_t channels, F&& bin) const {
    for (size_t row = 0; row < first.size(); row += channels)
      for (int64_t c = 0; c < channels; ++c) to[bin(c)] += {first[row + c], second[row + c]};
  }
};

// Coefficients of the channels, repeated along a row, in the order of simd::NormColumns.
template <typename Real>
struct Coefficients {
  static constexpr int kCount = 5;

  const Cut& cut;
  std::vector<Real> values = std::vector<Real>(kCount * cut.columns);

  Real* operator[](int i) { return values.data() + i * cut.columns; }
  // Coefficient i of channel c = f(c, its group).
  template <typename F>
  void set(int i, F&& f) {
    Real* row = (*this)[i];
    for (int64_t c = 0; c < cut.channels; ++c) row[c] = static_cast<Real>(f(c, cut.group[c]));
    for (int64_t c = cut.channels; c < cut.columns; ++c) row[c] = row[c - cut.channels];
  }
  simd::NormColumns<Real> from(int64_t column) {
    const auto at = [&](int i) { return (*this)[i] + column; };
    return {at(0), at(1), at(2), at(3), at(4)};
  }
};

template <typename Real>
const simd::GroupNormLoops<Real>& loops() {
  if constexpr (std::is_same_v<Real, double>)
    return *simd::table().group_norm_in_double;
  else
    return *simd::table().group_norm;
}

template <typename Real>
struct Forward {
  const Cut& cut;
  std::array<const float*, 2> x;
  const float *gamma, *beta;
  float *y, *mean, *rstd;
  const GroupNormOptions& options;
  std::vector<Sums> partial = std::vector<Sums>(cut.images * cut.pieces * cut.groups);
  std::vector<Sums> exact = std::vector<Sums>(cut.images * cut.groups);  // mean and rstd of the groups, in double

  // Sums are those of x - shift, where shift is an element of the group: nothing cancels, however far from zero the
  // group lies.
  float shift(int64_t n, int64_t g) const { return cut.first_of(x, n, g * cut.width); }

  void sum(int64_t n, int64_t piece) {
    Coefficients<Real> shifts{cut};
    shifts.set(0, [&](int64_t, int64_t g) { return shift(n, g); });
    ColumnSums sums(cut);
    cut.for_matrices(n, piece, [&](const Rows& m) {
      loops<Real>().moments(&sums.first[m.column], &sums.second[m.column], x[m.input] + m.x, shifts[0] + m.column,
                            m.rows, m.columns);
    });
    sums.fold(&partial[(n * cut.pieces + piece) * cut.groups], cut.channels, [&](int64_t c) { return cut.group[c]; });
  }

  void finish(int64_t n) {
    for (int64_t g = 0; g < cut.groups; ++g) {
      Sums total;
      for (int64_t i = 0; i < cut.pieces; ++i) total += partial[(n * cut.pieces + i) * cut.groups + g];
      const double offset = total.first / cut.group_size();
      const double variance = std::max(0.0, total.second / cut.group_size() - offset * offset);
      const int64_t at = n * cut.groups + g;
      exact[at] = {shift(n, g) + offset, 1 / std::sqrt(variance + options.eps)};
      mean[at] = static_cast<float>(exact[at].first);
      rstd[at] = static_cast<float>(exact[at].second);
    }
  }

  // z = scale (x - mean) + bias, where the bias makes up for the rounding of the mean to f32.
  void map(int64_t n, int64_t piece) {
    const Sums* of = &exact[n * cut.groups];
    const float* rounded = mean + n * cut.groups;
    Coefficients<Real> k{cut};
    k.set(0, [&](int64_t, int64_t g) { return rounded[g]; });
    k.set(1, [&](int64_t c, int64_t g) { return gamma[c] * of[g].second; });
    k.set(2, [&](int64_t c, int64_t g) { return beta[c] - gamma[c] * of[g].second * (of[g].first - rounded[g]); });
    cut.for_matrices(n, piece, [&](const Rows& m) {
      loops<Real>().forward(y + m.y, cut.columns, x[m.input] + m.x, k.from(m.column), m.rows, m.columns, options.silu);
    });
  }
};

template <typename Real>
struct Backward {
  const Cut& cut;
  const float* dy;
  std::array<const float*, 2> x;
  const float *gamma, *beta, *mean, *rstd;
  std::array<float*, 2> dx;  // null: not wanted
  bool silu;
  // Of dz and dz (x - mean), by channel; the first piece of an image ends with the sums of the whole image.
  std::vector<Sums> partial = std::vector<Sums>(cut.images * cut.pieces * cut.channels);
  std::vector<Sums> pull = std::vector<Sums>(cut.images * cut.groups);  // and slope, see simd::NormColumns

  Sums* channel_sums(int64_t n, int64_t piece = 0) { return &partial[(n * cut.pieces + piece) * cut.channels]; }

  Coefficients<Real> coefficients(int64_t n) const {
    Coefficients<Real> k{cut};
    const int64_t first = n * cut.groups;
    k.set(0, [&](int64_t, int64_t g) { return mean[first + g]; });
    k.set(1, [&](int64_t c, int64_t g) { return gamma[c] * rstd[first + g]; });
    k.set(2, [&](int64_t c, int64_t) { return beta[c]; });
    k.set(3, [&](int64_t, int64_t g) { return pull[first + g].first; });
    k.set(4, [&](int64_t, int64_t g) { return pull[first + g].second; });
    return k;
  }

  void sum(int64_t n, int64_t piece) {
    Coefficients<Real> k = coefficients(n);
    ColumnSums sums(cut);
    cut.for_matrices(n, piece, [&](const Rows& m) {
      loops<Real>().sums(&sums.first[m.column], &sums.second[m.column], dy + m.y, cut.columns, x[m.input] + m.x,
                         k.from(m.column), m.rows, m.columns, silu);
    });
    sums.fold(channel_sums(n, piece), cut.channels, [](int64_t c) { return c; });
  }

  // pull = rstd/m sum gamma dz, slope = rstd^3/m sum gamma dz (x - mean)
  void finish(int64_t n) {
    Sums* total = channel_sums(n);
    for (int64_t c = 0; c < cut.channels; ++c) {
      for (int64_t i = 1; i < cut.pieces; ++i) total[c] += channel_sums(n, i)[c];
      pull[n * cut.groups + cut.group[c]] += {gamma[c] * total[c].first, gamma[c] * total[c].second};
    }
    for (int64_t i = n * cut.groups; i < (n + 1) * cut.groups; ++i) {
      const double r = rstd[i];
      pull[i] = {pull[i].first * r / cut.group_size(), pull[i].second * r * r * r / cut.group_size()};
    }
  }

  void map(int64_t n, int64_t piece) {
    if (!dx[0] && !dx[1]) return;
    Coefficients<Real> k = coefficients(n);
    cut.for_matrices(n, piece, [&](const Rows& m) {
      if (float* to = dx[m.input])
        loops<Real>().backward(to + m.x, dy + m.y, cut.columns, x[m.input] + m.x, k.from(m.column), m.rows, m.columns,
                               silu);
    });
  }

  void parameters(const Grad& dgamma, const Grad& dbeta) {
    std::vector<double> slope(cut.channels), bias(cut.channels);
    for (int64_t n = 0; n < cut.images; ++n)
      for (int64_t c = 0; c < cut.channels; ++c) {
        slope[c] += channel_sums(n)[c].second * rstd[n * cut.groups + cut.group[c]];
        bias[c] += channel_sums(n)[c].first;
      }
    put_gradient<float>(dgamma, slope);
    put_gradient<float>(dbeta, bias);
  }
};

std::string_view group_norm_rung() { return rung("GROUP_NORM", {"oracle", "double", "simd", "fastest"}); }

bool use_oracle(const Tensor& y) { return y.dtype() != Dtype::f32 || y.numel() == 0 || group_norm_rung() == "oracle"; }

// Whether the fast one computes in double: where the gradient is what is left of terms that nearly cancel (over few
// pixels), and where nobody waits for it. What a small network computes is then as exact as f32 can hold it.
bool use_double(const Tensor& y) {
  const bool small = y.numel() <= std::max<int64_t>(1 << 17, y.dim(0) * 1024);
  return group_norm_rung() == "double" || (group_norm_rung() == "fastest" && small);
}

template <typename Real>
void forward(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
             const GroupNormOptions& o) {
  const Cut cut(x, o.groups);
  Forward<Real> pass{cut,
                     {x.a.data<float>(), x.b.data<float>()},
                     gamma.data<float>(),
                     beta.data<float>(),
                     out.y.mutable_data<float>(),
                     out.mean.mutable_data<float>(),
                     out.rstd.mutable_data<float>(),
                     o};
  run(pass, cut);
}

template <typename Real>
void backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
              const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Cut cut(x, o.groups);
  Backward<Real> pass{cut,
                      dy.data<float>(),
                      {x.a.data<float>(), x.b.data<float>()},
                      gamma.data<float>(),
                      beta.data<float>(),
                      mean.data<float>(),
                      rstd.data<float>(),
                      {to.dx.a.mutable_data<float>(), to.dx.b.mutable_data<float>()},
                      o.silu};
  run(pass, cut);
  pass.parameters(to.dgamma, to.dbeta);
}

}  // namespace

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o, const Concat<Tensor>&) {
  const auto run = use_oracle(out.y) ? oracle::group_norm : use_double(out.y) ? forward<double> : forward<float>;
  run(out, x, gamma, beta, o);
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const auto run = use_oracle(dy) ? oracle::group_norm_backward : use_double(dy) ? backward<double> : backward<float>;
  run(to, dy, x, gamma, beta, mean, rstd, o);
}

}  // namespace stipple::cpu
