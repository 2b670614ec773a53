#pragma once
#include "kernels/cuda/conv2d/correlation.h"
#include "kernels/cuda/conv2d/epilogue.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/launch.h"

// Forward and both gradients as problems for the first two rungs (product/naive.h, product/tiled.h), which read their
// operands element by element.

namespace stipple::cuda {

// Pixels of y x filters, over the window.
template <typename T>
struct ForwardProblem {
  Correlation g;
  T* y;
  Joined<const T> x;
  const T* weight;
  Epilogue<T> epilogue;

  __host__ __device__ int rows() const { return g.pixels(); }
  __host__ __device__ int columns() const { return g.filters; }
  __host__ __device__ int depth() const { return g.window(); }
  __device__ bool a_along_depth() const { return true; }
  __device__ bool b_along_depth() const { return true; }
  __device__ float a(int pixel, int e) const {
    const int c = e % g.c, s = e / g.c % g.s, r = e / g.c / g.s;
    const int i = pixel / g.columns % g.rows, j = pixel % g.columns, n = pixel / g.columns / g.rows;
    const int h = i * g.stride + r - g.top, w = j * g.stride + s - g.left;
    if (h < 0 || h >= g.scale * g.h || w < 0 || w >= g.scale * g.w) return 0;
    return *x((int64_t{n} * g.h + h / g.scale) * g.w + w / g.scale, c);
  }
  __device__ float b(int e, int filter) const { return weight[int64_t{filter} * g.window() + e]; }
  __device__ void put(int pixel, int filter, float sum) const {
    const int64_t at = int64_t{pixel} * g.filters + filter;
    y[at] = epilogue(g, pixel, filter, at, sum);
  }
};

// Pixels of x x channels, over filters and the taps that reach the pixel, or the four it is where it was upsampled.
template <typename T>
struct InputGradientProblem {
  Correlation g;
  T* dx;
  const T *dy, *weight;

  __host__ __device__ int rows() const { return g.images * g.h * g.w; }
  __host__ __device__ int columns() const { return g.c; }
  __host__ __device__ int depth() const { return g.scale * g.scale * g.r * g.s * g.filters; }
  __device__ bool a_along_depth() const { return true; }
  __device__ bool b_along_depth() const { return false; }
  __device__ float a(int pixel, int e) const {
    const int k = e % g.filters, s = e / g.filters % g.s, r = e / g.filters / g.s % g.r;
    const int copy = e / g.filters / g.s / g.r, n = pixel / g.w / g.h;
    const int h = pixel / g.w % g.h * g.scale + copy / g.scale + g.top - r;
    const int w = pixel % g.w * g.scale + copy % g.scale + g.left - s;
    const int i = h / g.stride, j = w / g.stride;
    if (h < 0 || h % g.stride != 0 || i >= g.rows || w < 0 || w % g.stride != 0 || j >= g.columns) return 0;
    return dy[((int64_t{n} * g.rows + i) * g.columns + j) * g.filters + k];
  }
  __device__ float b(int e, int channel) const {
    const int k = e % g.filters, tap = e / g.filters % (g.r * g.s);
    return weight[(int64_t{k} * g.r * g.s + tap) * g.c + channel];
  }
  __device__ void put(int pixel, int channel, float sum) const { dx[int64_t{pixel} * g.c + channel] = sum; }
};

// Filters x window, over the pixels of y.
template <typename T>
struct WeightGradientProblem {
  ForwardProblem<T> forward;
  float* dweight;
  bool add;
  const T* dy;

  __host__ __device__ int rows() const { return forward.g.filters; }
  __host__ __device__ int columns() const { return forward.g.window(); }
  __host__ __device__ int depth() const { return forward.g.pixels(); }
  __device__ bool a_along_depth() const { return false; }
  __device__ bool b_along_depth() const { return false; }
  __device__ float a(int filter, int pixel) const { return dy[int64_t{pixel} * forward.g.filters + filter]; }
  __device__ float b(int pixel, int e) const { return forward.a(pixel, e); }
  __device__ void put(int filter, int e, float sum) const {
    float& to = dweight[int64_t{filter} * forward.g.window() + e];
    to = add ? to + sum : sum;
  }
};

// Call run with the problem that belongs to the tensors.

template <typename Run>
void for_forward(Tensor& y, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
                 const Correlation& g, const Run& run) {
  for_floating("conv2d", y.dtype(), [&]<typename T>(T) {
    run(ForwardProblem<T>{g, mutable_data<T>(y), joined<T>(x), data<T>(weight), Epilogue<T>(e)});
  });
}

template <typename Run>
void for_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Correlation& g, const Run& run) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(InputGradientProblem<T>{g, mutable_data<T>(dx), data<T>(dy), data<T>(weight)});
  });
}

template <typename Run>
void for_weight_gradient(const Grad& dweight, const Tensor& dy, const Tensor& x, const Correlation& g, const Run& run) {
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    run(WeightGradientProblem<T>{
        {g, nullptr, joined<T>(x), nullptr, {}}, mutable_data<float>(dweight.to), dweight.add, data<T>(dy)});
  });
}

}  // namespace stipple::cuda
