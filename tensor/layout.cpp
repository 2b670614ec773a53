#include "tensor/layout.h"

#include <algorithm>
#include <cstring>

namespace stipple {
namespace {

constexpr int64_t kTile = 32;  // a tile's rows and columns stay in L1 while both are walked

// `count` matrices [rows, columns] -> [columns, rows], elements of T's size. Where they come from they need not be
// aligned.
template <typename T>
void transpose(std::byte* to, const std::byte* from, int64_t count, int64_t rows, int64_t columns) {
  const int64_t strips = (rows + kTile - 1) / kTile;
#pragma omp parallel for if (count * rows * columns > 1 << 16)
  for (int64_t s = 0; s < count * strips; ++s) {
    const int64_t base = s / strips * rows * columns, r0 = s % strips * kTile, r1 = std::min(r0 + kTile, rows);
    for (int64_t c0 = 0; c0 < columns; c0 += kTile)
      for (int64_t c = c0; c < std::min(c0 + kTile, columns); ++c)
        for (int64_t r = r0; r < r1; ++r)
          std::memcpy(to + (base + c * rows + r) * sizeof(T), from + (base + r * columns + c) * sizeof(T), sizeof(T));
  }
}

// y of count matrices [columns, rows].
void transpose_into(const Tensor& y, const std::byte* from, int64_t rows, int64_t columns) {
  const auto transpose_elements = [&]<typename T>(T) {
    transpose<T>(y.mutable_bytes(), from, y.dim(0), rows, columns);
  };
  switch (size_of(y.dtype())) {
    case 1:
      transpose_elements(uint8_t{});
      break;
    case 2:
      transpose_elements(uint16_t{});
      break;
    case 4:
      transpose_elements(uint32_t{});
      break;
    case 8:
      transpose_elements(uint64_t{});
      break;
  }
}

Tensor transposed(const Tensor& x, const Shape& shape, int64_t rows, int64_t columns) {
  const Tensor y(shape, x.dtype(), x.device());
  transpose_into(y, x.bytes(), rows, columns);
  return y;
}

int64_t product(const int64_t* first, const int64_t* last) { return Shape(first, last).numel(); }

void check_border(const char* operation, const Tensor& x) {
  check(x.rank() >= 2 && x.device() == Device::cpu,
        "{}: a tensor on the CPU of two dimensions or more expected, got {} on {}", operation, describe(x),
        name_of(x.device()));
}

}  // namespace

Tensor to_channels_last(const Tensor& x) {
  check_border("to_channels_last", x);
  Shape shape{x.dim(0)};
  for (int i = 2; i < x.rank(); ++i) shape.push_back(x.dim(i));
  shape.push_back(x.dim(1));
  return transposed(x, shape, x.dim(1), product(x.shape().begin() + 2, x.shape().end()));
}

void read_channels_first(const Tensor& to, const std::byte* from) {
  check_border("read_channels_first", to);
  transpose_into(to, from, to.dim(-1), product(to.shape().begin() + 1, to.shape().end() - 1));
}

Tensor to_channels_first(const Tensor& x) {
  check_border("to_channels_first", x);
  Shape shape{x.dim(0), x.dim(-1)};
  for (int i = 1; i < x.rank() - 1; ++i) shape.push_back(x.dim(i));
  return transposed(x, shape, product(x.shape().begin() + 1, x.shape().end() - 1), x.dim(-1));
}

}  // namespace stipple
