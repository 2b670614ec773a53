#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/timestep_embedding.h"

// timestep_embedding: one element a thread. A few thousand elements: what counts is that the angles, up to a thousand,
// are the CPU's to the last bit. So the exponent is rounded where the CPU rounds it, and the exponential, in double, is
// rounded once, as a good expf is.

namespace stipple::cuda {
namespace {

struct Frequencies {
  int64_t dim, half, sines;
  float log_period, count;

  explicit Frequencies(const TimestepEmbeddingOptions& o)
      : dim(o.dim),
        half(o.dim / 2),
        sines(o.flip_sin_to_cos ? o.dim / 2 : 0),
        log_period(static_cast<float>(-std::log(o.max_period))),
        count(static_cast<float>(static_cast<double>(o.dim / 2) - o.freq_shift)) {}
  __device__ float operator()(int64_t i) const {
    const float exponent = log_period * static_cast<float>(i) / count;
    return static_cast<float>(exp(static_cast<double>(exponent)));
  }
};

__global__ void timestep_embedding_kernel(float* __restrict__ y, const float* __restrict__ t, Frequencies f,
                                          int64_t n) {
  const int64_t at = global_thread();
  if (at >= n) return;
  const int64_t i = at % f.dim;
  if (i >= 2 * f.half) {
    y[at] = 0;
    return;
  }
  const float angle = t[at / f.dim] * f(i % f.half);
  y[at] = i / f.half * f.half == f.sines ? sinf(angle) : cosf(angle);
}

}  // namespace

void timestep_embedding(Tensor& y, const Tensor& t, const TimestepEmbeddingOptions& o) {
  if (y.numel() == 0) return;
  launch(timestep_embedding_kernel, blocks_for(y.numel()), kThreads, 0, mutable_data<float>(y), data<float>(t),
         Frequencies(o), y.numel());
}

}  // namespace stipple::cuda
