#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace stipple {

// The extents of a tensor, outermost first; at most six of them, kept in place. A scalar has none.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), dims.end()) {}
  template <typename Iterator>
  Shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(*first);
  }

  int rank() const { return rank_; }
  int64_t numel() const;            // 1 for a scalar
  int64_t operator[](int i) const;  // negative i counts from the end, as in PyTorch
  void push_back(int64_t dim);
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  friend bool operator==(const Shape& a, const Shape& b) { return a.rank_ == b.rank_ && a.dims_ == b.dims_; }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::string to_string(const Shape&);  // "[8,32,32,3]"

}  // namespace stipple
