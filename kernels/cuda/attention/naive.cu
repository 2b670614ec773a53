#include "kernels/cuda/attention/rungs.h"
#include "kernels/cuda/launch.h"

// attention, rung naive: the formulas of attention.h in their order, with all of P in memory.
//
// Idea    a thread a query for the softmax of its scores; a thread an element for every product with P or dS.
// Costs   N heads Tq Tk floats for P, and as many for dS; a query's scores are written once and read three times, by
//         threads whose rows lie Tk apart: a sector a read.
// Tried   nothing yet: this is what faster rungs are measured against.

namespace stipple::cuda::naive {
namespace {

using Extents = AttentionExtents;

// One query of one head of one image: row (image, head, query) of P.
struct Query {
  int64_t row, image, head, number;
  const Extents& e;

  __device__ Query(int64_t at, const Extents& extents)
      : row(at),
        image(at / extents.queries / extents.heads),
        head(at / extents.queries % extents.heads),
        number(at % extents.queries),
        e(extents) {}
  // Where its head starts in q and y, and in token `key` of k and v.
  __device__ int64_t own() const { return ((image * e.queries + number) * e.heads + head) * e.width; }
  __device__ int64_t of_key(int64_t key) const { return ((image * e.keys + key) * e.heads + head) * e.width; }
};

template <typename T>
__device__ float dot(const T* a, const T* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<float>(a[i]) * static_cast<float>(b[i]);
  return sum;
}

template <typename T>
__global__ void probabilities_kernel(float* __restrict__ p, float* __restrict__ lse, const T* __restrict__ q,
                                     const T* __restrict__ k, Extents e, float scale, int64_t rows) {
  const int64_t at = global_thread();
  if (at >= rows) return;
  const Query query(at, e);
  float* row = p + at * e.keys;
  float largest = -INFINITY, total = 0;
  for (int64_t s = 0; s < e.keys; ++s) {
    row[s] = scale * dot(q + query.own(), k + query.of_key(s), e.width);
    largest = fmaxf(largest, row[s]);
  }
  for (int64_t s = 0; s < e.keys; ++s) total += row[s] = expf(row[s] - largest);
  for (int64_t s = 0; s < e.keys; ++s) row[s] /= total;
  lse[at] = largest + logf(total);
}

// P again, and dS times the scale. delta is the mean of dP under P as it came out, not the sum of dy y: then a row of
// dS sums to zero as exactly as f32 can, and so do the gradients of biases of keys.
template <typename T>
__global__ void score_gradients_kernel(float* __restrict__ p, float* __restrict__ ds, const T* __restrict__ dy,
                                       const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                                       const float* __restrict__ lse, Extents e, float scale, int64_t rows) {
  const int64_t at = global_thread();
  if (at >= rows) return;
  const Query query(at, e);
  float *share = p + at * e.keys, *gradient = ds + at * e.keys;
  float delta = 0, total = 0;
  for (int64_t s = 0; s < e.keys; ++s) {
    share[s] = expf(scale * dot(q + query.own(), k + query.of_key(s), e.width) - lse[at]);
    gradient[s] = dot(dy + query.own(), v + query.of_key(s), e.width);
    delta += share[s] * gradient[s];
    total += share[s];
  }
  for (int64_t s = 0; s < e.keys; ++s) gradient[s] = scale * share[s] * (gradient[s] - delta / total);
}

// P or dS, or its transpose: element (i, j) of a head.
struct Weights {
  const float* of;
  int64_t queries, keys;
  bool transposed;

  __device__ float at(int64_t head, int64_t i, int64_t j) const {
    return of[head * queries * keys + (transposed ? j * keys + i : i * keys + j)];
  }
};

// to[n, i, h, d] = sum_j weights[n, h, i, j] from[n, j, h, d]; `rows` tokens from `inner` tokens.
template <typename T>
__global__ void mix_kernel(T* __restrict__ to, Weights weights, const T* __restrict__ from, int64_t rows, int64_t inner,
                           int64_t heads, int64_t width, int64_t n) {
  const int64_t at = global_thread();
  if (at >= n) return;
  const int64_t d = at % width, h = at / width % heads, i = at / width / heads % rows;
  const int64_t image = at / width / heads / rows;
  float sum = 0;
  for (int64_t j = 0; j < inner; ++j)
    sum +=
        weights.at(image * heads + h, i, j) * static_cast<float>(from[((image * inner + j) * heads + h) * width + d]);
  to[at] = sum;
}

template <typename T>
void mix(const Tensor& to, const Tensor& weights, bool transposed, const Tensor& from, const Extents& e) {
  if (!to) return;
  launch(mix_kernel<T>, blocks_for(to.numel()), kThreads, 0, mutable_data<T>(to),
         Weights{data<float>(weights), e.queries, e.keys, transposed}, data<T>(from), to.dim(1), from.dim(1), e.heads,
         e.width, to.numel());
}

Tensor all_scores(const Extents& e) { return Tensor({e.rows(), e.keys}, Dtype::f32, Device::cuda); }

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, const Extents& e) {
  const Tensor p = all_scores(e);
  for_floating("attention", q.dtype(), [&]<typename T>(T) {
    launch(probabilities_kernel<T>, blocks_for(e.rows()), kThreads, 0, mutable_data<float>(p),
           mutable_data<float>(out.lse), data<T>(q), data<T>(k), e, e.scale, e.rows());
    mix<T>(out.y, p, false, v, e);
  });
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, const Extents& e) {
  const Tensor p = all_scores(e), ds = all_scores(e);
  for_floating("attention", q.dtype(), [&]<typename T>(T) {
    launch(score_gradients_kernel<T>, blocks_for(e.rows()), kThreads, 0, mutable_data<float>(p),
           mutable_data<float>(ds), data<T>(dy), data<T>(q), data<T>(k), data<T>(v), data<float>(out.lse), e, e.scale,
           e.rows());
    mix<T>(to.dq, ds, false, k, e);
    mix<T>(to.dk, ds, true, q, e);
    mix<T>(to.dv, p, true, dy, e);
  });
}

}  // namespace stipple::cuda::naive
