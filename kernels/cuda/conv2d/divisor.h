#pragma once
#include <cuda_runtime.h>

#include <cstdint>

// Division by a number the host knows, in three instructions, for dividends below 2^31. (Granlund & Montgomery 1994,
// "Division by Invariant Integers using Multiplication", figure 4.1.)

namespace stipple::cuda {

class Divisor {
 public:
  explicit Divisor(int by) : by_(by) {
    while ((int64_t{1} << shift_) < by) ++shift_;
    multiplier_ = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift_) - by) / by + 1);
  }
  __device__ int quotient(int n) const {
    const auto dividend = static_cast<uint32_t>(n);
    return static_cast<int>((static_cast<uint32_t>(uint64_t{dividend} * multiplier_ >> 32) + dividend) >> shift_);
  }
  __device__ int remainder(int n, int quotient_of_n) const { return n - quotient_of_n * by_; }

 private:
  int by_, shift_ = 0;
  uint32_t multiplier_;
};

}  // namespace stipple::cuda
