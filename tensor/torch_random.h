#pragma once
#include <optional>
#include <random>

#include "tensor/random.h"

// The random numbers of PyTorch on the CPU, after torch.manual_seed(seed): the Mersenne Twister mt19937, and PyTorch's
// ways to make numbers of its words.
//   uniform      f32: 24 bits of one word; f64: 53 bits of two
//   normal       Box-Muller. 16 numbers and more: in blocks of 16 from uniforms of the same type, the last 16 drawn
//   anew
//                where n is no multiple of 16. Fewer: one by one in f64, every second one kept for the next call
//   integers     word modulo the range, as torch.randint      permutation  as torch.randperm
// Normals agree with PyTorch's to rounding (its vector code has its own logarithm), everything else to the bit.

namespace stipple {

class TorchGenerator final : public Generator {
 public:
  explicit TorchGenerator(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}

  const char* name() const override { return "torch"; }
  void normal(float* to, int64_t n) override;
  void normal(double* to, int64_t n) override;
  void uniform(float* to, int64_t n) override;
  void uniform(double* to, int64_t n) override;
  void integers(int64_t* to, int64_t n, int64_t low, int64_t high) override;
  void permutation(int64_t* to, int64_t n) override;
  Tensor state() const override;
  void set_state(const Tensor&) override;

 private:
  template <typename T>
  T next_uniform();
  double next_normal();
  template <typename T>
  void fill_normal(T* to, int64_t n);

  std::mt19937 engine_;
  std::optional<double> kept_normal_;
};

}  // namespace stipple
