#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

struct Extents {
  int64_t images, queries, keys, heads, width;  // width: channels of a head

  Extents(const Tensor& q, const Tensor& k, int64_t head_count)
      : images(q.dim(0)), queries(q.dim(1)), keys(k.dim(1)), heads(head_count), width(q.dim(2) / head_count) {}
  int64_t channels() const { return heads * width; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(width)); }
  // Where the head of a token of an image starts in q, y (tokens = queries) or in k, v (tokens = keys).
  int64_t at(int64_t n, int64_t tokens, int64_t t, int64_t h) const { return ((n * tokens + t) * heads + h) * width; }
};

// The oracle: the formulas of attention.h as loops in double.

template <typename T>
double dot(const T* a, const T* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Calls f(image, head, query, offset of the query's head) for all of them.
template <typename F>
void for_queries(const Extents& e, F&& f) {
  for (int64_t n = 0; n < e.images; ++n)
    for (int64_t h = 0; h < e.heads; ++h)
      for (int64_t t = 0; t < e.queries; ++t) f(n, h, t, e.at(n, e.queries, t, h));
}

template <typename T>
void oracle(AttentionOut& out, const T* q, const T* k, const T* v, const Extents& e) {
  T *y = out.y.mutable_data<T>(), *lse = out.lse.mutable_data<T>();
  std::vector<double> p(e.keys);
  for_queries(e, [&](int64_t n, int64_t h, int64_t t, int64_t query) {
    for (int64_t s = 0; s < e.keys; ++s) p[s] = e.scale() * dot(q + query, k + e.at(n, e.keys, s, h), e.width);
    const double largest = *std::max_element(p.begin(), p.end());
    double total = 0;
    for (double& value : p) total += value = std::exp(value - largest);
    for (int64_t d = 0; d < e.width; ++d) {
      double sum = 0;
      for (int64_t s = 0; s < e.keys; ++s) sum += p[s] * v[e.at(n, e.keys, s, h) + d];
      y[query + d] = static_cast<T>(sum / total);
    }
    lse[(n * e.heads + h) * e.queries + t] = static_cast<T>(largest + std::log(total));
  });
}

template <typename T>
void put(const Tensor& to, const std::vector<double>& values) {
  if (to.defined()) std::copy(values.begin(), values.end(), to.mutable_data<T>());
}

template <typename T>
void oracle_backward(const AttentionGrads& to, const T* dy, const T* q, const T* k, const T* v, const T* y,
                     const T* lse, const Extents& e) {
  std::vector<double> dq(e.images * e.queries * e.channels()), dk(e.images * e.keys * e.channels()), dv(dk.size());
  for_queries(e, [&](int64_t n, int64_t h, int64_t t, int64_t query) {
    const double delta = dot(dy + query, y + query, e.width), log_total = lse[(n * e.heads + h) * e.queries + t];
    for (int64_t s = 0; s < e.keys; ++s) {
      const int64_t key = e.at(n, e.keys, s, h);
      const double p = std::exp(e.scale() * dot(q + query, k + key, e.width) - log_total);
      const double ds = e.scale() * p * (dot(dy + query, v + key, e.width) - delta);
      for (int64_t d = 0; d < e.width; ++d) {
        dv[key + d] += p * dy[query + d];
        dq[query + d] += ds * k[key + d];
        dk[key + d] += ds * q[query + d];
      }
    }
  });
  put<T>(to.dq, dq);
  put<T>(to.dk, dk);
  put<T>(to.dv, dv);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  const Extents e(q, k, heads);
  for_real("attention", q.dtype(), [&]<typename T>(T) { oracle(out, q.data<T>(), k.data<T>(), v.data<T>(), e); });
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  const Extents e(q, k, heads);
  for_real("attention", q.dtype(), [&]<typename T>(T) {
    oracle_backward(to, dy.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(), out.y.data<T>(), out.lse.data<T>(), e);
  });
}

}  // namespace stipple::cpu
