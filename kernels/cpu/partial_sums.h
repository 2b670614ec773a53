#pragma once
#include <algorithm>

#include "kernels/cpu/parallel.h"

// Long sums are cut by shape into partial results, which add up in order: the same bits for any number of threads.

namespace stipple::cpu {

struct Destination {  // where a result goes, and whether on top of what is there; null = not wanted
  float* to = nullptr;
  bool add = false;
};

// to = (to +) the sum of partials [count, n]
inline void add_partials(const Destination& d, const float* partials, int64_t count, int64_t n) {
  parallel_for_ranges(n, 1 << 14, [&](int64_t begin, int64_t end) {
    if (!d.add) std::copy(partials + begin, partials + end, d.to + begin);
    for (int64_t p = d.add ? 0 : 1; p < count; ++p)
      for (int64_t i = begin; i < end; ++i) d.to[i] += partials[p * n + i];
  });
}

}  // namespace stipple::cpu
