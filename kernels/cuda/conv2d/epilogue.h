#pragma once
#include "kernels/cuda/channels.h"
#include "kernels/cuda/conv2d/correlation.h"
#include "kernels/cuda/launch.h"

namespace stipple::cuda {

// Conv2dEpilogue as kernels see it: what becomes of the sum of a pixel and filter of y, whose elements are T.
template <typename T>
struct Epilogue {
  const float* bias = nullptr;        // each may be null
  const T* time_embedding = nullptr;  // [images, filters]
  const T* residual = nullptr;        // like y
  float scale = 1;

  Epilogue() = default;
  explicit Epilogue(const Conv2dEpilogue<Tensor>& e)
      : bias(data<float>(e.bias)),
        time_embedding(data<T>(e.time_embedding)),
        residual(data<T>(e.residual)),
        scale(static_cast<float>(1 / e.output_scale_factor)) {}

  // `at` is where the pixel's filter lies in y.
  __device__ float operator()(const Correlation& g, int pixel, int filter, int64_t at, float sum) const {
    if (bias) sum += bias[filter];
    if (time_embedding) sum += static_cast<float>(time_embedding[of_image(g, pixel) + filter]);
    if (residual) sum += static_cast<float>(residual[at]);
    return scale * sum;
  }

  // Likewise neighbouring filters, the first a multiple of kCount: 16 bytes of T.
  template <int kCount>
  __device__ void operator()(const Correlation& g, int pixel, int filter, int64_t at, float (&sums)[kCount]) const {
    if (bias)
      for (int i = 0; i < kCount; ++i) sums[i] += bias[filter + i];
    if (time_embedding) add(sums, time_embedding + of_image(g, pixel) + filter);
    if (residual) add(sums, residual + at);
    for (int i = 0; i < kCount; ++i) sums[i] *= scale;
  }

 private:
  __device__ static int64_t of_image(const Correlation& g, int pixel) {
    return int64_t{pixel / (g.rows * g.columns)} * g.filters;
  }
  template <int kCount>
  __device__ static void add(float (&sums)[kCount], const T* from) {
    float values[kCount];
    unpack<T>(values, load_vector<RawChannels<T, kCount>>(from));
    for (int i = 0; i < kCount; ++i) sums[i] += values[i];
  }
};

}  // namespace stipple::cuda
