#include "kernels/concat.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector_access.h"

// concat: copies of columns between arrays whose rows are further apart.
//
// Idea    the widest unit, 2 to 16 bytes, that divides both rows and the pieces taken of them; one unit a thread.
// Costs   every byte read once and written once; channels that are a multiple of 4 (f32) or 8 (bf16) move 16 bytes a
//         thread.
// Tried   nothing else. Better than any copy is none: a kernel that reads two inputs.

namespace stipple::cuda {
namespace {

struct Columns {
  std::byte* to;
  const std::byte* from;
  int64_t to_stride, from_stride, width, rows;  // strides and width in bytes

  bool divides(size_t unit) const {
    const auto bits = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) |
                      static_cast<uintptr_t>(to_stride | from_stride | width);
    return bits % unit == 0;
  }
};

template <typename Unit>
__global__ void copy_columns_kernel(Columns c) {
  constexpr int64_t kBytes = sizeof(Unit);
  const int64_t i = global_thread(), a_row = c.width / kBytes;
  if (i >= a_row * c.rows) return;
  const int64_t row = i / a_row, at = i % a_row * kBytes;
  store_vector(c.to + row * c.to_stride + at, load_vector<Unit>(c.from + row * c.from_stride + at));
}

template <typename Unit>
void copy_units(const Columns& c) {
  launch(copy_columns_kernel<Unit>, blocks_for(c.width / sizeof(Unit) * c.rows), kThreads, 0, c);
}

void copy_columns(const Columns& c) {
  if (c.width == 0 || c.rows == 0) return;
  if (c.divides(16)) return copy_units<uint4>(c);
  if (c.divides(8)) return copy_units<uint2>(c);
  if (c.divides(4)) return copy_units<uint32_t>(c);
  if (c.divides(2)) return copy_units<uint16_t>(c);
  copy_units<uint8_t>(c);
}

int64_t rows_of(const Tensor& x) { return x.dim(-1) ? x.numel() / x.dim(-1) : 0; }
int64_t row_bytes(const Tensor& x) { return x.dim(-1) * static_cast<int64_t>(size_of(x.dtype())); }

}  // namespace

void concat_channels(Tensor& y, const Tensor& a, const Tensor& b) {
  const int64_t wide = row_bytes(y), left = row_bytes(a), right = wide - left;
  std::byte* to = y.mutable_bytes();
  copy_columns({to, a.bytes(), wide, left, left, rows_of(y)});
  copy_columns({to + left, b.bytes(), wide, right, right, rows_of(y)});
}

void split_channels(const Concat<Tensor>& to, const Tensor& dy, int64_t a_channels) {
  const int64_t wide = row_bytes(dy), left = a_channels * static_cast<int64_t>(size_of(dy.dtype()));
  const int64_t right = wide - left;
  if (to.a.defined()) copy_columns({to.a.mutable_bytes(), dy.bytes(), left, wide, left, rows_of(dy)});
  if (to.b.defined()) copy_columns({to.b.mutable_bytes(), dy.bytes() + left, right, wide, right, rows_of(dy)});
}

}  // namespace stipple::cuda
