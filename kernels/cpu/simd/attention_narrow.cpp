#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/quad.h"
#include "kernels/cpu/simd/vector.h"

// Attention with heads kNarrow = 8 channels wide, diffusers' default.
//
// Idea    queries are lanes, and one key at a time meets a few vectors of them: scores, exponentials and sums stay in
//         registers. Exponentials weigh as much as products here.
// Tried   products by the register tile of gemm.cpp: with 8 steps it loads and stores more than it computes, and its
//         broadcasts from 14 rows of keys meet in one bank of the cache: half as fast forward, a quarter backward.

namespace stipple::simd::STIPPLE_SIMD {

constexpr int kVectors = kRegisters == 32 ? 2 : 1;  // of queries at once: their 8 channels stay in registers

// s = q k for every key, and the largest of them.
template <int Vectors>
static void score(float* s, Vec (&largest)[Vectors], const NarrowTile& t, const float* q) {
  Vec queries[kNarrow][Vectors];
  for (int d = 0; d < kNarrow; ++d)
    for (int i = 0; i < Vectors; ++i) queries[d][i] = load(q + d * t.block + i * kLanes);
  for (int64_t key = 0; key < t.keys; ++key) {
    const float* k = t.k + key * t.row;
    Vec dot[Vectors] = {};
    for (int d = 0; d < kNarrow; ++d)
      for (int i = 0; i < Vectors; ++i) dot[i] += splat(k[d]) * queries[d][i];
    for (int i = 0; i < Vectors; ++i) {
      store(s + key * t.block + i * kLanes, dot[i]);
      largest[i] = max(largest[i], dot[i]);
    }
  }
}

// sums += p v and total += p for every key, where p = 2^(s - largest).
template <int Vectors>
static void weigh(Vec (&sums)[kNarrow][Vectors], Vec (&total)[Vectors], const Vec (&largest)[Vectors],
                  const NarrowTile& t, const float* s) {
  for (int64_t key = 0; key < t.keys; ++key) {
    const float* v = t.v + key * t.row;
    Vec p[Vectors];
    for (int i = 0; i < Vectors; ++i) {
      p[i] = exp2_of_negative(load(s + key * t.block + i * kLanes) - largest[i]);
      total[i] += p[i];
    }
    for (int d = 0; d < kNarrow; ++d)
      for (int i = 0; i < Vectors; ++i) sums[d][i] += splat(v[d]) * p[i];
  }
}

template <int Vectors>
static void attend(const NarrowTile& t, float* sums, float* largest, float* total, float* s, int64_t column) {
  Vec most[Vectors], sum[kNarrow][Vectors] = {}, count[Vectors] = {};
  for (int i = 0; i < Vectors; ++i) most[i] = load(largest + column + i * kLanes);
  score(s + column, most, t, t.q + column);
  weigh(sum, count, most, t, s + column);
  for (int i = 0; i < Vectors; ++i) {
    const int64_t c = column + i * kLanes;
    const Vec factor = exp2_of_negative(load(largest + c) - most[i]);
    store(largest + c, most[i]);
    store(total + c, load(total + c) * factor + count[i]);
    for (int d = 0; d < kNarrow; ++d) {
      float* to = sums + d * t.block + c;
      store(to, load(to) * factor + sum[d][i]);
    }
  }
}

void attend_narrow(const NarrowTile& t, float* sums, float* largest, float* total, float* s) {
  int64_t c = 0;
  for (; c + kVectors * kLanes <= t.queries; c += kVectors * kLanes) attend<kVectors>(t, sums, largest, total, s, c);
  for (; c < t.queries; c += kLanes) attend<1>(t, sums, largest, total, s, c);
}

// to[d] += the sum of the lanes of v[d]
static inline void add_sums(float* to, const Vec (&v)[kNarrow]) {
  for (int d = 0; d < kNarrow; d += 4) {
    Quad quads[4] = {};
    for (int i = 0; i < 4; ++i) {
      float lanes[kLanes];
      store(lanes, v[d + i]);
      for (int lane = 0; lane < kLanes; lane += 4) quads[i] += load_quad(lanes + lane);
    }
    transpose(quads);
    store_quad(to + d, load_quad(to + d) + ((quads[0] + quads[1]) + (quads[2] + quads[3])));
  }
}

// One key against one vector of queries, which starts at q, dy, dq.
struct Key {
  float k[kNarrow], v[kNarrow];
  Vec dk[kNarrow] = {}, dv[kNarrow] = {};

  Key(const float* key, const float* value) {
    __builtin_memcpy(k, key, sizeof k);
    __builtin_memcpy(v, value, sizeof v);
  }

  void meet(const float* q, const float* dy, float* dq, int64_t block, Vec lse, Vec delta) {
    Vec score = -lse, dp = -delta;
    for (int d = 0; d < kNarrow; ++d) {
      score += splat(k[d]) * load(q + d * block);
      dp += splat(v[d]) * load(dy + d * block);
    }
    const Vec p = exp2_of_negative(score), ds = p * dp;
    for (int d = 0; d < kNarrow; ++d) {
      dv[d] += p * load(dy + d * block);
      dk[d] += ds * load(q + d * block);
      store(dq + d * block, load(dq + d * block) + splat(k[d]) * ds);
    }
  }
};

void attend_narrow_backward(const NarrowTile& t, float* dq, float* dk, float* dv, int64_t gradient_row, const float* dy,
                            const float* lse, const float* delta) {
  for (int64_t i = 0; i < t.keys; ++i) {
    Key key(t.k + i * t.row, t.v + i * t.row);
    for (int64_t first = 0; first < t.queries; first += t.block)
      for (int64_t c = first; c < t.queries && c < first + t.block; c += kLanes) {
        const int64_t at = first * kNarrow + (c - first);
        key.meet(t.q + at, dy + at, dq + at, t.block, load(lse + c), load(delta + c));
      }
    add_sums(dk + i * gradient_row, key.dk);
    add_sums(dv + i * gradient_row, key.dv);
  }
}

}  // namespace stipple::simd::STIPPLE_SIMD
