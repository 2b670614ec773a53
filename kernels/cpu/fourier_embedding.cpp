#include "kernels/fourier_embedding.h"

#include <cmath>

namespace stipple::cpu {

void fourier_embedding(Tensor& y, const Tensor& t, const Tensor& frequencies) {
  const int64_t width = frequencies.dim(0);
  for_real("fourier_embedding", y.dtype(), [&]<typename T>(T) {
    T* row = y.mutable_data<T>();
    const T* f = frequencies.data<T>();
    for (int64_t n = 0; n < t.numel(); ++n, row += 2 * width) {
      const double turns = std::log(t.data<double>()[n]);
      for (int64_t i = 0; i < width; ++i) {
        const double angle = 2 * M_PI * f[i] * turns;
        row[i] = static_cast<T>(std::sin(angle));
        row[width + i] = static_cast<T>(std::cos(angle));
      }
    }
  });
}

}  // namespace stipple::cpu
