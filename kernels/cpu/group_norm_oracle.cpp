#include "kernels/cpu/group_norm_oracle.h"

#include <cmath>

#include "kernels/launch.h"

namespace stipple::cpu::oracle {
namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// Calls f(element's offset, its channel) for every element of group g of image n.
template <typename F>
void for_group(const GroupNormExtents& e, int64_t n, int64_t g, F&& f) {
  for (int64_t p = 0; p < e.pixels; ++p)
    for (int64_t c = g * e.width; c < (g + 1) * e.width; ++c) f((n * e.pixels + p) * e.channels + c, c);
}

template <typename T>
void forward(GroupNormOut& out, const T* x, const T* gamma, const T* beta, const GroupNormExtents& e,
             const GroupNormOptions& o) {
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
void backward(const GroupNormGrads& to, const T* dy, const T* x, const T* gamma, const T* beta, const T* means,
              const T* rstds, const GroupNormExtents& e, const GroupNormOptions& o) {
  T* dx = to.dx.a.defined() ? to.dx.a.mutable_data<T>() : nullptr;
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
  put_gradient<T>(to.dgamma, dgamma);
  put_gradient<T>(to.dbeta, dbeta);
}

}  // namespace

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  const Tensor whole = kernels::concat_channels(x);
  for_real("group_norm", whole.dtype(), [&]<typename T>(T) {
    forward(out, whole.data<T>(), gamma.data<T>(), beta.data<T>(), GroupNormExtents(whole.shape(), o.groups), o);
  });
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Tensor whole = kernels::concat_channels(x);
  const bool parted = x.b && (to.dx.a || to.dx.b);
  const Tensor dx = parted ? empty_like(whole) : to.dx.a;
  for_real("group_norm", dy.dtype(), [&]<typename T>(T) {
    backward({dx, to.dgamma, to.dbeta}, dy.data<T>(), whole.data<T>(), gamma.data<T>(), beta.data<T>(), mean.data<T>(),
             rstd.data<T>(), GroupNormExtents(whole.shape(), o.groups), o);
  });
  if (parted) kernels::split_channels(to.dx, dx, x.a.dim(-1));
}

}  // namespace stipple::cpu::oracle
