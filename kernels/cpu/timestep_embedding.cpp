#include "kernels/timestep_embedding.h"

#include <cmath>
#include <vector>

namespace stipple::cpu {
namespace {

std::vector<float> frequencies(const TimestepEmbeddingOptions& o) {
  std::vector<float> f(o.dim / 2);
  const float log_period = static_cast<float>(-std::log(o.max_period));
  const float count = static_cast<float>(o.dim / 2 - o.freq_shift);
  for (size_t i = 0; i < f.size(); ++i) f[i] = std::exp(log_period * static_cast<float>(i) / count);
  return f;
}

}  // namespace

void timestep_embedding(Tensor& y, const Tensor& t, const TimestepEmbeddingOptions& o) {
  const std::vector<float> f = frequencies(o);
  const int64_t half = o.dim / 2, sines = o.flip_sin_to_cos ? half : 0, cosines = half - sines;
  float* row = y.mutable_data<float>();
  for (int64_t n = 0; n < t.numel(); ++n, row += o.dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float angle = t.data<float>()[n] * f[i];
      row[sines + i] = std::sin(angle);
      row[cosines + i] = std::cos(angle);
    }
    if (o.dim % 2) row[o.dim - 1] = 0;
  }
}

}  // namespace stipple::cpu
