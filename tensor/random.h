#pragma once
#include <memory>
#include <span>
#include <string>

#include "tensor/tensor.h"

// Random numbers. Whoever draws takes a Generator; which one it is was chosen once, by name.
//
//   philox  counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the same bits on every
//           device, with any number of threads and any mathematical library (tensor/philox.h)
//   torch   the numbers of PyTorch's CPU generator after torch.manual_seed(seed) (tensor/torch_random.h)
//
// Buffers are filled in the order of their elements. PyTorch draws images as NCHW: so must callers who want its
// numbers.

namespace stipple {

class Generator {
 public:
  virtual ~Generator() = default;
  virtual const char* name() const = 0;

  virtual void normal(float* to, int64_t n) = 0;  // mean 0, variance 1
  virtual void normal(double* to, int64_t n) = 0;
  virtual void uniform(float* to, int64_t n) = 0;  // in [0, 1)
  virtual void uniform(double* to, int64_t n) = 0;
  virtual void integers(int64_t* to, int64_t n, int64_t low, int64_t high) = 0;  // in [low, high)
  virtual void permutation(int64_t* to, int64_t n) = 0;                          // 0 ... n-1, shuffled

  // Everything the next numbers depend on, for training states: set_state() of a generator of the same name goes on
  // from exactly there.
  virtual Tensor state() const = 0;
  virtual void set_state(const Tensor&) = 0;
};

// Philox4x32-10. Block b of the stream is philox(counter = b, key = seed), four words of 32 bits. The k-th element of a
// fill is made from block offset + k / 4 alone; the fill of n elements then moves the offset on by ceil(n / 4).
// Integers are chosen from 2^32 at most; f64 fills hold the f32 numbers. The state is i64 [2]: seed and offset.
class PhiloxGenerator final : public Generator {
 public:
  explicit PhiloxGenerator(uint64_t seed, uint64_t offset = 0) : seed_(seed), offset_(offset) {}

  const char* name() const override { return "philox"; }
  uint64_t seed() const { return seed_; }
  uint64_t offset() const { return offset_; }
  void set_offset(uint64_t offset) { offset_ = offset; }

  void normal(float* to, int64_t n) override;
  void normal(double* to, int64_t n) override;
  void uniform(float* to, int64_t n) override;
  void uniform(double* to, int64_t n) override;
  void integers(int64_t* to, int64_t n, int64_t low, int64_t high) override;
  void permutation(int64_t* to, int64_t n) override;
  Tensor state() const override;
  void set_state(const Tensor&) override;

 private:
  template <typename T, typename Make>
  void fill(T* to, int64_t n, const Make& make);

  uint64_t seed_, offset_;
};

std::unique_ptr<Generator> make_generator(const std::string& name, uint64_t seed);  // "philox" or "torch"

// New tensors, f32, f64 or bf16.
Tensor normal(Generator&, const Shape&, Dtype = Dtype::f32);
Tensor uniform(Generator&, const Shape&, Dtype = Dtype::f32);
Tensor integers(Generator&, const Shape&, int64_t low, int64_t high);  // i64
Tensor permutation(Generator&, int64_t n);                             // i64 [n]

// Row n of the leading dimension comes from generator n: an image depends on its own seed only, not on its batch.
Tensor normal_per_image(std::span<const std::unique_ptr<Generator>>, const Shape&, Dtype = Dtype::f32);

}  // namespace stipple
