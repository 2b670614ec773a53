#include "kernels/arithmetic.h"

#include <array>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;

// The elements of `shape`, walked as rows of one inner extent; `strides` say how far an operand moves a dimension (0
// where it is stretched). Neighbouring dimensions that every operand walks as one are merged, so equal shapes are a
// single row.
struct Walk {
  std::vector<int64_t> extents;
  std::vector<std::array<int64_t, 2>> strides;

  Walk(const Shape& shape, const Shape& a, const Shape& b) {
    std::array<int64_t, 2> step = {1, 1};
    for (int i = shape.rank() - 1; i >= 0; --i) {
      const int64_t extent = shape[i];
      std::array<int64_t, 2> stride;
      for (int operand = 0; operand < 2; ++operand) {
        const Shape& own = operand == 0 ? a : b;
        const int dim = i - (shape.rank() - own.rank());
        const int64_t length = dim < 0 ? 1 : own[dim];
        stride[operand] = length == 1 ? 0 : step[operand];
        step[operand] *= length;
      }
      prepend(extent, stride);
    }
    if (extents.empty()) prepend(1, {0, 0});
  }

  int64_t inner() const { return extents.front(); }
  int64_t rows() const {
    int64_t n = 1;
    for (size_t i = 1; i < extents.size(); ++i) n *= extents[i];
    return n;
  }
  // Where row r of an operand begins.
  int64_t offset(int64_t r, int operand) const {
    int64_t at = 0;
    for (size_t i = 1; i < extents.size(); ++i) {
      at += r % extents[i] * strides[i][operand];
      r /= extents[i];
    }
    return at;
  }

 private:
  // Dimensions come innermost first, which is also how they are kept.
  void prepend(int64_t extent, std::array<int64_t, 2> stride) {
    if (extent == 1 && !extents.empty()) return;
    if (!extents.empty()) {
      const int64_t n = extents.back();
      auto& last = strides.back();
      if (n == 1) {
        extents.back() = extent;
        last = stride;
        return;
      }
      if (stride[0] == last[0] * n && stride[1] == last[1] * n) {
        extents.back() *= extent;
        return;
      }
    }
    extents.push_back(extent);
    strides.push_back(stride);
  }
};

template <typename T, typename F>
void map_row(T* y, const T* a, int64_t step_a, const T* b, int64_t step_b, int64_t n, F f) {
  if (step_a == 1 && step_b == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  else if (step_a == 1 && step_b == 0)
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], *b);
  else if (step_a == 0 && step_b == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = f(*a, b[i]);
  else
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i * step_a], b[i * step_b]);
}

template <typename T, typename F>
void map(Tensor& y, const Tensor& a, const Tensor& b, F f) {
  const Walk walk(y.shape(), a.shape(), b.shape());
  T* to = y.mutable_data<T>();
  const T *from_a = a.data<T>(), *from_b = b.data<T>();
  const int64_t inner = walk.inner(), step_a = walk.strides[0][0], step_b = walk.strides[0][1];
  if (walk.rows() == 1)
    return parallel_for_ranges(inner, kGrain, [&](int64_t begin, int64_t end) {
      map_row(to + begin, from_a + begin * step_a, step_a, from_b + begin * step_b, step_b, end - begin, f);
    });
  const int64_t rows_a_piece = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inner));
  parallel_for_ranges(walk.rows(), rows_a_piece, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin, run; r < end; r += run) {  // rows that lie at constant strides
      run = std::min(end - r, walk.extents[1] - r % walk.extents[1]);
      const T *a_row = from_a + walk.offset(r, 0), *b_row = from_b + walk.offset(r, 1);
      for (int64_t i = 0; i < run; ++i)
        map_row(to + (r + i) * inner, a_row + i * walk.strides[1][0], step_a, b_row + i * walk.strides[1][1], step_b,
                inner, f);
    }
  });
}

// One task of sum_to: the sums over `reduced` blocks of [reduced, kept] in double.
template <typename T>
void sum_rows(double* sums, const T* x, int64_t reduced, int64_t kept) {
  std::fill_n(sums, kept, 0.0);
  for (int64_t r = 0; r < reduced; ++r)
    for (int64_t k = 0; k < kept; ++k) sums[k] += x[r * kept + k];
}

// y [outer, kept] = sum over the middle of x [outer, reduced, kept]. The middle is cut into pieces of fixed length,
// whose partial sums meet in order.
template <typename T>
void sum_middle(T* y, const T* x, int64_t outer, int64_t reduced, int64_t kept) {
  const int64_t piece = std::max<int64_t>(1, kGrain / kept), pieces = (reduced + piece - 1) / piece;
  std::vector<double> partial(outer * pieces * kept);
  parallel_for(outer * pieces, [&](int64_t task) {
    const int64_t o = task / pieces, begin = task % pieces * piece;
    sum_rows(&partial[task * kept], x + (o * reduced + begin) * kept, std::min(piece, reduced - begin), kept);
  });
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < kept; ++k) {
      double total = 0;
      for (int64_t p = 0; p < pieces; ++p) total += partial[(o * pieces + p) * kept + k];
      y[o * kept + k] = static_cast<T>(total);
    }
}

}  // namespace

void binary(Tensor& y, Binary operation, const Tensor& a, const Tensor& b) {
  for_real("arithmetic", y.dtype(), [&]<typename T>(T) {
    switch (operation) {
      case Binary::add:
        return map<T>(y, a, b, [](T p, T q) { return p + q; });
      case Binary::subtract:
        return map<T>(y, a, b, [](T p, T q) { return p - q; });
      case Binary::multiply:
        return map<T>(y, a, b, [](T p, T q) { return p * q; });
      case Binary::divide:
        return map<T>(y, a, b, [](T p, T q) { return p / q; });
    }
  });
}

void affine(Tensor& y, const Tensor& x, double scale, double shift) {
  for_real("affine", x.dtype(), [&]<typename T>(T) {
    const T factor = static_cast<T>(scale), term = static_cast<T>(shift);
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    parallel_for_ranges(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = factor * from[i] + term;
    });
  });
}

void accumulate(const Tensor& to, const Tensor& x) {
  for_real("accumulate", x.dtype(), [&]<typename T>(T) {
    T* sum = to.mutable_data<T>();
    const T* term = x.data<T>();
    parallel_for_ranges(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum[i] += term[i];
    });
  });
}

// One run of neighbouring stretched dimensions at a time, from the outermost in.
void sum_to(Tensor& y, const Tensor& x) {
  for_real("sum_to", x.dtype(), [&]<typename T>(T) {
    const int extra = x.rank() - y.rank();
    auto stretched = [&](int i) { return i < extra || (y.dim(i - extra) == 1 && x.dim(i) != 1); };
    Tensor rest = x;
    int64_t outer = 1;
    for (int i = 0; i < x.rank();) {
      if (!stretched(i)) {
        outer *= x.dim(i++);
        continue;
      }
      int64_t reduced = 1, kept = 1;
      for (; i < x.rank() && stretched(i); ++i) reduced *= x.dim(i);
      for (int j = i; j < x.rank(); ++j) kept *= x.dim(j);
      Tensor sums({outer, kept}, x.dtype());
      sum_middle(sums.mutable_data<T>(), rest.data<T>(), outer, reduced, kept);
      rest = sums;
    }
    y.copy_from(rest.reshape(y.shape()));
  });
}

}  // namespace stipple::cpu
