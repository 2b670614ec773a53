#include "kernels/group_norm.h"

#include <cmath>
#include <vector>

#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

struct Extents {
  int64_t images, pixels, channels, groups, width;  // width: channels of a group

  Extents(const Tensor& x, int64_t group_count)
      : images(x.dim(0)), pixels(0), channels(x.dim(-1)), groups(group_count), width(channels / group_count) {
    if (images * channels > 0) pixels = x.numel() / (images * channels);
  }
  int64_t group_size() const { return pixels * width; }
};

// The oracle: the formulas of group_norm.h as loops in double.

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// Calls f(element's offset, its channel) for every element of group g of image n.
template <typename F>
void for_group(const Extents& e, int64_t n, int64_t g, F&& f) {
  for (int64_t p = 0; p < e.pixels; ++p)
    for (int64_t c = g * e.width; c < (g + 1) * e.width; ++c) f((n * e.pixels + p) * e.channels + c, c);
}

template <typename T>
void oracle(GroupNormOut& out, const T* x, const T* gamma, const T* beta, const Extents& e, const GroupNormOptions& o) {
  T *y = out.y.mutable_data<T>(), *means = out.mean.mutable_data<T>(), *rstds = out.rstd.mutable_data<T>();
  for (int64_t n = 0; n < e.images; ++n)
    for (int64_t g = 0; g < e.groups; ++g) {
      double sum = 0, squares = 0;
      for_group(e, n, g, [&](int64_t i, int64_t) { sum += x[i]; });
      const double mean = sum / e.group_size();
      for_group(e, n, g, [&](int64_t i, int64_t) { squares += (x[i] - mean) * (x[i] - mean); });
      const double rstd = 1 / std::sqrt(squares / e.group_size() + o.eps);
      for_group(e, n, g, [&](int64_t i, int64_t c) {
        const double z = gamma[c] * (x[i] - mean) * rstd + beta[c];
        y[i] = static_cast<T>(o.silu ? z * sigmoid(z) : z);
      });
      means[n * e.groups + g] = static_cast<T>(mean);
      rstds[n * e.groups + g] = static_cast<T>(rstd);
    }
}

double silu_slope(double z) { return sigmoid(z) * (1 + z * (1 - sigmoid(z))); }

template <typename T>
void put(const Grad& to, const std::vector<double>& values) {
  if (!to.wanted()) return;
  T* at = to.to.mutable_data<T>();
  for (size_t c = 0; c < values.size(); ++c) at[c] = static_cast<T>(values[c] + (to.add ? at[c] : T{0}));
}

template <typename T>
void oracle_backward(const GroupNormGrads& to, const T* dy, const T* x, const T* gamma, const T* beta, const T* means,
                     const T* rstds, const Extents& e, const GroupNormOptions& o) {
  T* dx = to.dx.defined() ? to.dx.mutable_data<T>() : nullptr;
  std::vector<double> dgamma(e.channels), dbeta(e.channels);
  for (int64_t n = 0; n < e.images; ++n)
    for (int64_t g = 0; g < e.groups; ++g) {
      const double mean = means[n * e.groups + g], rstd = rstds[n * e.groups + g];
      const auto xn = [&](int64_t i) { return (x[i] - mean) * rstd; };
      const auto dz = [&](int64_t i, int64_t c) {
        return dy[i] * (o.silu ? silu_slope(gamma[c] * xn(i) + beta[c]) : 1);
      };
      double sum = 0, sum_xn = 0;
      for_group(e, n, g, [&](int64_t i, int64_t c) {
        const double d = dz(i, c);
        dgamma[c] += d * xn(i), dbeta[c] += d;
        sum += gamma[c] * d, sum_xn += gamma[c] * d * xn(i);
      });
      if (!dx) continue;
      for_group(e, n, g, [&](int64_t i, int64_t c) {
        dx[i] = static_cast<T>(rstd * (gamma[c] * dz(i, c) - (sum + xn(i) * sum_xn) / e.group_size()));
      });
    }
  put<T>(to.dgamma, dgamma);
  put<T>(to.dbeta, dbeta);
}

}  // namespace

void group_norm(GroupNormOut& out, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  const Extents e(x, o.groups);
  for_real("group_norm", x.dtype(),
           [&]<typename T>(T) { oracle(out, x.data<T>(), gamma.data<T>(), beta.data<T>(), e, o); });
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Tensor& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Extents e(x, o.groups);
  for_real("group_norm", x.dtype(), [&]<typename T>(T) {
    oracle_backward(to, dy.data<T>(), x.data<T>(), gamma.data<T>(), beta.data<T>(), mean.data<T>(), rstd.data<T>(), e,
                    o);
  });
}

}  // namespace stipple::cpu
