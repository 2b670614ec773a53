#include "tensor/shape.h"

#include "tensor/error.h"

namespace stipple {

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int64_t d : *this) n *= d;
  return n;
}

int64_t Shape::operator[](int i) const {
  const int index = i < 0 ? i + rank_ : i;
  check(index >= 0 && index < rank_, "shape {} has no dimension {}", to_string(*this), i);
  return dims_[index];
}

void Shape::push_back(int64_t dim) {
  check(rank_ < kMaxRank, "a tensor has at most {} dimensions", kMaxRank);
  check(dim >= 0, "a dimension cannot be negative, got {}", dim);
  dims_[rank_++] = dim;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int64_t d : shape) text += (text.size() > 1 ? "," : "") + std::to_string(d);
  return text + "]";
}

}  // namespace stipple
