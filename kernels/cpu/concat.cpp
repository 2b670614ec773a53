#include "kernels/concat.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 17;  // bytes a piece

// Copies `rows` rows of `width` bytes between arrays whose rows are further apart.
void copy_columns(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride, int64_t width,
                  int64_t rows) {
  if (width == 0) return;
  parallel_for_ranges(rows, std::max<int64_t>(1, kGrain / width), [&](int64_t a, int64_t b) {
    for (int64_t row = a; row < b; ++row) std::memcpy(to + row * to_stride, from + row * from_stride, width);
  });
}

int64_t rows_of(const Tensor& x) { return x.dim(-1) ? x.numel() / x.dim(-1) : 0; }
int64_t row_bytes(const Tensor& x) { return x.dim(-1) * size_of(x.dtype()); }

}  // namespace

void concat_channels(Tensor& y, const Tensor& a, const Tensor& b) {
  const int64_t wide = row_bytes(y), left = row_bytes(a);
  std::byte* to = y.mutable_bytes();
  copy_columns(to, wide, a.bytes(), left, left, rows_of(y));
  copy_columns(to + left, wide, b.bytes(), wide - left, wide - left, rows_of(y));
}

void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels) {
  const int64_t wide = row_bytes(dy), left = a_channels * size_of(dy.dtype());
  if (to.a.defined()) copy_columns(to.a.mutable_bytes(), left, dy.bytes(), wide, left, rows_of(dy));
  if (to.b.defined())
    copy_columns(to.b.mutable_bytes(), wide - left, dy.bytes() + left, wide, wide - left, rows_of(dy));
}

}  // namespace stipple::cpu
