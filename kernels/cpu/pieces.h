#pragma once
#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.h"

// Maps and sums over many cheap elements, cut into pieces of fixed size: a sum has the same bits for any number of
// threads.

namespace stipple::cpu {

inline constexpr int64_t kPiece = 1 << 15;  // elements: 128 KiB of floats, an eighth of L2

// sum f(i) over i in [a, b), in eight interleaved sums, so that the compiler may keep them in vectors.
template <typename F>
double sum_of_piece(int64_t a, int64_t b, F&& f) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  int64_t i = a;
  for (; i + kSums <= b; i += kSums)
    for (int j = 0; j < kSums; ++j) sums[j] += f(i + j);
  for (; i < b; ++i) sums[0] += f(i);
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

// sum f(i) over i in [0, n), in double.
template <typename F>
double sum_of(int64_t n, F&& f) {
  std::vector<double> sums((n + kPiece - 1) / kPiece);
  parallel_for(sums.size(), [&](int64_t i) { sums[i] = sum_of_piece(i * kPiece, std::min(n, (i + 1) * kPiece), f); });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace stipple::cpu
