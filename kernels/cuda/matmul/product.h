#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul/rungs.h"

// A matrix product as the first two rungs see it, which read their operands element by element.

namespace stipple::cuda {

template <typename T, typename C>
struct Product {
  MatmulSizes size;
  C* c;
  const T *left, *right;
  const float* bias;  // or null
  bool transpose_a, transpose_b, add;

  __host__ __device__ int rows() const { return size.rows; }
  __host__ __device__ int columns() const { return size.columns; }
  __device__ int depth() const { return size.depth; }
  __device__ bool a_along_depth() const { return !transpose_a; }
  __device__ bool b_along_depth() const { return transpose_b; }
  __device__ float a(int row, int step) const {
    return left[transpose_a ? int64_t{step} * size.rows + row : int64_t{row} * size.depth + step];
  }
  __device__ float b(int step, int column) const {
    return right[transpose_b ? int64_t{column} * size.depth + step : int64_t{step} * size.columns + column];
  }
  __device__ void put(int row, int column, float sum) const {
    C& to = c[int64_t{row} * size.columns + column];
    if (bias) sum += bias[column];
    to = add ? static_cast<float>(to) + sum : sum;
  }
};

// Calls f with the product, its element types known.
template <typename F>
void for_product(const Grad& c, const MatmulOperand& a, const MatmulOperand& b, const Tensor& bias,
                 const MatmulSizes& size, F&& f) {
  for_floating("matmul", a.of.dtype(), [&]<typename T>(T) {
    const auto call = [&]<typename C>(C) {
      f(Product<T, C>{size, mutable_data<C>(c.to), data<T>(a.of), data<T>(b.of), bias ? data<float>(bias) : nullptr,
                      a.transpose == Transpose::yes, b.transpose == Transpose::yes, c.add});
    };
    c.to.dtype() == Dtype::f32 ? call(float{}) : call(T{});
  });
}

}  // namespace stipple::cuda
