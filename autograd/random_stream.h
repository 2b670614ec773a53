#pragma once
#include <cstdint>
#include <optional>

#include "tensor/tensor.h"

namespace stipple {

struct RandomPosition {
  uint64_t seed = 0, offset = 0;  // of a Philox stream, in blocks of four numbers (tensor/philox.h)
  Tensor device_seed;             // i64 []: where defined, kernels on CUDA read the seed there when they run
};

// The random numbers of operations that draw (dropout). While a RandomStream lives, those on its thread take blocks of
// it, one operation after the other; where there is none they draw nothing and pass their input on. So randomness is
// for who asks for it: a training step opens a stream, sampling and comparisons do not.
class RandomStream {
 public:
  explicit RandomStream(std::optional<RandomPosition> from);  // none: draws nothing while this lives
  ~RandomStream();
  RandomStream(const RandomStream&) = delete;
  RandomStream& operator=(const RandomStream&) = delete;

  static std::optional<RandomPosition> position();             // where the innermost stream stands
  static std::optional<RandomPosition> take(uint64_t blocks);  // the same, and moves it on

 private:
  std::optional<RandomPosition> before_;
};

}  // namespace stipple
