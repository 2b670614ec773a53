#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/simd.h"
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

// The oracle: the formulas of attention.h as loops in double, a head after another. Small problems take it, too.

template <typename T>
double dot(const T* a, const T* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Calls f(image, head, query, offset of the query's head) for all queries, those of a head in order.
template <typename F>
void for_queries(const Extents& e, F&& f) {
  parallel_for(e.images * e.heads, [&](int64_t head) {
    const int64_t n = head / e.heads, h = head % e.heads;
    for (int64_t t = 0; t < e.queries; ++t) f(n, h, t, e.at(n, e.queries, t, h));
  });
}

template <typename T>
void oracle(AttentionOut& out, const T* q, const T* k, const T* v, const Extents& e) {
  T *y = out.y.mutable_data<T>(), *lse = out.lse.mutable_data<T>();
  for_queries(e, [&](int64_t n, int64_t h, int64_t t, int64_t query) {
    std::vector<double> p(e.keys);
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

// The fast one, f32: FlashAttention's order (Dao et al. 2022, arXiv:2205.14135) with queries as vector lanes.
//
// A block of queries is laid down transposed, [D][queries], and meets the keys in tiles. Every product, forward and
// backward, is then of one kind: numbers read where they lie, broadcast against rows of vectors. The softmax runs along
// rows and never crosses lanes, and the width of a head is free.

constexpr int64_t kTile = 128;                    // keys, backward
constexpr int64_t kForwardTile = 32;              // few: f32 sums are made a tile at a time, for their digits
constexpr double kLog2E = M_LOG2E, kLn2 = M_LN2;  // the softmax is to base 2: the factor goes into the queries

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Matrix {
  const float* at;
  int64_t row, column = 1;  // strides
};

// C [rows, columns] += A [rows, steps] B [steps, columns], or = where not `add`; B is read in whole vectors.
void product(float* c, int64_t c_row, bool add, Matrix a, Matrix b, int64_t rows, int64_t columns, int64_t steps) {
  const simd::Table& simd = simd::table();
  const int64_t start = 0;
  for (int64_t j = 0; j < columns; j += simd.gemm_columns)
    for (int64_t i = 0; i < rows; i += simd.gemm_rows) {
      float* tile = c + i * c_row + j;
      simd.gemm_tile({std::min<int64_t>(simd.gemm_rows, rows - i), std::min<int64_t>(simd.gemm_columns, columns - j),
                      tile, c_row, add ? tile : nullptr, c_row, a.at + i * a.row, a.row, a.column, b.at + j, b.row,
                      steps, 1, &start, &start});
    }
}

// Consecutive stretches of a thread's scratch memory.
struct Carve {
  float* at;
  float* operator()(int64_t floats) { return std::exchange(at, at + round_up(floats, 16)); }
};

// f(task, floats of memory for its thread alone)
template <typename F>
void parallel_with_scratch(int64_t tasks, int64_t floats, F&& f) {
  const Tensor memory({threads(), round_up(floats, 16)});
  float* first = memory.mutable_data<float>();
  parallel_for(tasks, [&](int64_t task) { f(task, first + thread_index() * memory.dim(1)); });
}

struct Forward {
  const Extents& e;
  const float *q, *k, *v;
  float *y, *lse;
  int64_t block = simd::table().gemm_columns, tile = std::min(kForwardTile, e.keys);

  int64_t blocks() const { return (e.queries + block - 1) / block; }
  int64_t scratch() const { return (2 * e.width + tile + 3) * block + 6 * 16; }

  void run(int64_t task, float* memory) const {
    const int64_t head = task / blocks(), first = task % blocks() * block;
    run_block(head / e.heads, head % e.heads, first, std::min(block, e.queries - first), memory);
  }

  void run_block(int64_t n, int64_t h, int64_t first, int64_t count, float* memory) const {
    const simd::Table& simd = simd::table();
    const int64_t lanes = round_up(count, simd.lanes), at = e.at(n, e.queries, first, h);
    Carve carve{memory};
    float *queries = carve(e.width * block), *sums = carve(e.width * block), *p = carve(tile * block);
    float *largest = carve(block), *total = carve(block), *factor = carve(block);
    std::fill_n(queries, e.width * block, 0.f);
    std::fill_n(sums, e.width * block, 0.f);
    std::fill_n(largest, block, -std::numeric_limits<float>::infinity());
    std::fill_n(total, block, 0.f);
    simd.transpose(queries, block, q + at, e.channels(), count, e.width, static_cast<float>(e.scale() * kLog2E));
    for (int64_t key = 0; key < e.keys; key += tile) {
      const int64_t keys = std::min(tile, e.keys - key), from = e.at(n, e.keys, key, h);
      if (e.width == simd.narrow) {
        simd.attend_narrow({k + from, v + from, e.channels(), keys, queries, block, lanes}, sums, largest, total, p);
        continue;
      }
      product(p, block, false, {k + from, e.channels()}, {queries, block}, keys, lanes, e.width);
      simd.softmax_columns(p, largest, total, factor, keys, lanes, block);
      simd.scale_columns(sums, factor, e.width, lanes, block);
      product(sums, block, true, {v + from, 1, e.channels()}, {p, block}, e.width, lanes, keys);
    }
    for (int64_t t = 0; t < lanes; ++t) factor[t] = 1 / total[t];
    simd.scale_columns(sums, factor, e.width, lanes, block);
    simd.transpose(y + at, e.channels(), sums, block, e.width, count, 1);
    float* logs = lse + (n * e.heads + h) * e.queries + first;
    for (int64_t t = 0; t < count; ++t) logs[t] = static_cast<float>(kLn2 * (largest[t] + std::log2(total[t])));
  }
};

struct BackwardTensors {
  const float *dy, *q, *k, *v, *lse;
  float *dq, *dk, *dv;  // null: not wanted
};

// One head of one image: every tile of keys meets all queries. The queries and their gradients lie there twice, in
// blocks of columns (lanes are queries) for the scores, and in rows (lanes are channels) for dk and dv.
class BackwardOfHead {
 public:
  BackwardOfHead(const Extents& extents, const BackwardTensors& tensors) : e(extents), t(tensors) {}

  int64_t scratch() const {
    return padded * (3 * e.width + 2 * width + 2) + 2 * tile * (width + block) + 4 * block + 12 * 16;
  }

  void run(int64_t n, int64_t h, float* memory) {
    carve(Carve{memory});
    pack(n, h);
    measure_means(n, h);
    for (int64_t key = 0; key < e.keys; key += tile) {
      const int64_t keys = std::min(tile, e.keys - key), at = e.at(n, e.keys, key, h);
      std::fill_n(dk, tile * width, 0.f);
      std::fill_n(dv, tile * width, 0.f);
      for (int64_t first = 0; first < e.queries; first += stretch)
        narrow ? meet_narrow(first, at, keys) : meet(first, at, keys);
      if (t.dk) put_rows(t.dk + at, dk, keys, narrow ? kLn2 : e.scale());
      if (t.dv) put_rows(t.dv + at, dv, keys, 1);
    }
    if (t.dq) put_queries(n, h);
  }

 private:
  void carve(Carve next) {
    for (float** columns : {&q_columns, &dy_columns, &dq_columns}) *columns = next(padded * e.width);
    for (float** rows : {&q_rows, &dy_rows}) *rows = next(padded * width);
    for (float** rows : {&dk, &dv}) *rows = next(tile * width);
    for (float** scores : {&p, &ds}) *scores = next(tile * block);
    for (float** numbers : {&lse, &delta}) *numbers = next(padded);
    shares = reinterpret_cast<double*>(next(4 * block));
  }

  // The rest of the last block and of the rows are zeros.
  void pack(int64_t n, int64_t h) {
    const int64_t at = e.at(n, e.queries, 0, h);
    std::fill(q_columns, dk, 0.f);
    std::fill_n(lse, padded, 0.f);
    std::fill_n(delta, padded, 0.f);
    for (int64_t first = 0; first < e.queries; first += block)
      pack_block(first, std::min(block, e.queries - first), at + first * e.channels());
    for (int64_t i = 0; i < e.queries; ++i) {
      const int64_t from = at + i * e.channels();
      if (!narrow) std::copy_n(t.q + from, e.width, q_rows + i * width);
      if (!narrow) std::copy_n(t.dy + from, e.width, dy_rows + i * width);
      lse[i] = static_cast<float>(kLog2E * t.lse[(n * e.heads + h) * e.queries + i]);
    }
  }

  void pack_block(int64_t first, int64_t count, int64_t from) {
    const simd::Table& simd = simd::table();
    float *q = q_columns + first * e.width, *dy = dy_columns + first * e.width;
    simd.transpose(q, block, t.q + from, e.channels(), count, e.width, static_cast<float>(e.scale() * kLog2E));
    simd.transpose(dy, block, t.dy + from, e.channels(), count, e.width, 1);
  }

  // delta is the mean of dP under P, measured on the very P and dP that are to come: then rows of dS sum to zero as
  // exactly as f32 can, and so do gradients of keys' biases. The sum of dy y is the same but for the rounding of y.
  void measure_means(int64_t n, int64_t h) {
    for (int64_t first = 0; first < e.queries; first += block) {
      std::fill_n(shares, 2 * block, 0.);
      for (int64_t key = 0; key < e.keys; key += tile) {
        const int64_t keys = std::min(tile, e.keys - key);
        weigh(first, e.at(n, e.keys, key, h), keys);
        simd::table().column_sums(shares, p, keys, block);
        simd::table().column_sums(shares + block, ds, keys, block);
      }
      for (int64_t i = 0; i < block; ++i) delta[first + i] = static_cast<float>(shares[block + i] / shares[i]);
    }
  }

  // P and, with what delta holds, dS of a tile of keys, which starts at element `at` of k and v, and a block of
  // queries.
  void weigh(int64_t first, int64_t at, int64_t keys) {
    const int64_t columns = first * e.width;
    product(p, block, false, {t.k + at, e.channels()}, {q_columns + columns, block}, keys, block, e.width);
    product(ds, block, false, {t.v + at, e.channels()}, {dy_columns + columns, block}, keys, block, e.width);
    simd::table().softmax_columns_backward(p, ds, lse + first, delta + first, keys, block, block);
  }

  void meet(int64_t first, int64_t at, int64_t keys) {
    const int64_t count = std::min(block, e.queries - first), lanes = round_up(count, simd::table().lanes);
    const int64_t columns = first * e.width, rows = first * width;
    weigh(first, at, keys);
    if (t.dv) product(dv, width, true, {p, block}, {dy_rows + rows, width}, keys, e.width, count);
    if (t.dk) product(dk, width, true, {ds, block}, {q_rows + rows, width}, keys, e.width, count);
    if (t.dq)
      product(dq_columns + columns, block, true, {t.k + at, 1, e.channels()}, {ds, block}, e.width, lanes, keys);
  }

  // The same for heads of 8, whose q stays in units of the scores, log2 e too large for dk.
  void meet_narrow(int64_t first, int64_t at, int64_t keys) {
    const int64_t queries = round_up(std::min(stretch, e.queries - first), simd::table().lanes);
    const int64_t columns = first * e.width;
    simd::table().attend_narrow_backward({t.k + at, t.v + at, e.channels(), keys, q_columns + columns, block, queries},
                                         dq_columns + columns, dk, dv, width, dy_columns + columns, lse + first,
                                         delta + first);
  }

  void put_rows(float* to, const float* from, int64_t rows, double scale) const {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < e.width; ++d) to[i * e.channels() + d] = static_cast<float>(scale) * from[i * width + d];
  }

  void put_queries(int64_t n, int64_t h) const {
    for (int64_t first = 0; first < e.queries; first += block)
      simd::table().transpose(t.dq + e.at(n, e.queries, first, h), e.channels(), dq_columns + first * e.width, block,
                              e.width, std::min(block, e.queries - first), static_cast<float>(e.scale()));
  }

  const Extents& e;
  const BackwardTensors& t;
  const bool narrow = e.width == simd::table().narrow;
  const int64_t block = simd::table().gemm_columns, tile = std::min(kTile, e.keys);
  const int64_t stretch = narrow ? 8 * block : block;  // queries that meet a tile of keys at once: what fits L1
  const int64_t padded = round_up(e.queries, block), width = round_up(e.width, simd::table().lanes);
  float *q_columns, *dy_columns, *dq_columns;  // [blocks][D][block], q in units of the scores
  float *q_rows, *dy_rows;                     // [padded][width]
  float *dk, *dv;                              // [tile][width]
  float *p, *ds;                               // [tile][block]
  float *lse, *delta;                          // [padded], lse to base 2
  double* shares;                              // [2][block], sums of p and of p dp
};

// Gradients of q and k are what is left of sums that nearly cancel: where a problem is small, these are made in double.
bool use_loops(const Extents& e, Dtype dtype) {
  const std::string_view wanted = rung("ATTENTION", {"oracle", "simd", "fastest"});
  const bool small = e.images * e.heads * e.queries * e.keys * e.width <= 1 << 18;
  return dtype != Dtype::f32 || wanted == "oracle" || (wanted == "fastest" && small);
}

}  // namespace

void attention(AttentionOut& out, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads) {
  const Extents e(q, k, heads);
  if (use_loops(e, q.dtype()))
    return for_real("attention", q.dtype(),
                    [&]<typename T>(T) { oracle(out, q.data<T>(), k.data<T>(), v.data<T>(), e); });
  const Forward forward{
      e, q.data<float>(), k.data<float>(), v.data<float>(), out.y.mutable_data<float>(), out.lse.mutable_data<float>()};
  parallel_with_scratch(e.images * e.heads * forward.blocks(), forward.scratch(),
                        [&](int64_t task, float* memory) { forward.run(task, memory); });
}

void attention_backward(const AttentionGrads& to, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOut& out, int64_t heads) {
  const Extents e(q, k, heads);
  if (use_loops(e, q.dtype()))
    return for_real("attention", q.dtype(), [&]<typename T>(T) {
      oracle_backward(to, dy.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(), out.y.data<T>(), out.lse.data<T>(), e);
    });
  const BackwardTensors tensors{dy.data<float>(),
                                q.data<float>(),
                                k.data<float>(),
                                v.data<float>(),
                                out.lse.data<float>(),
                                to.dq.mutable_data<float>(),
                                to.dk.mutable_data<float>(),
                                to.dv.mutable_data<float>()};
  parallel_with_scratch(e.images * e.heads, BackwardOfHead(e, tensors).scratch(), [&](int64_t task, float* memory) {
    BackwardOfHead(e, tensors).run(task / e.heads, task % e.heads, memory);
  });
}

}  // namespace stipple::cpu
