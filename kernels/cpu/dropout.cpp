#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "tensor/philox.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 12;  // blocks of four elements a piece

}  // namespace

void dropout(Tensor& y, const Tensor& x, const DropoutOptions& o) {
  const uint32_t least = static_cast<uint32_t>(std::ceil(o.p * 0x1p24));  // what a kept element's 24 bits are
  const int64_t n = x.numel();
  for_real("dropout", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    const T scale = static_cast<T>(1 / (1 - o.p));
    parallel_for_ranges((n + 3) / 4, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        const philox::Words words = philox::block(o.seed, o.offset + b);
        for (int64_t i = 4 * b; i < std::min(n, 4 * b + 4); ++i)
          to[i] = words.lane[i % 4] >> 8 >= least ? scale * from[i] : T{0};
      }
    });
  });
}

}  // namespace stipple::cpu
