#include "kernels/arithmetic.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"

// arithmetic: one element a thread; a sum is one block an element of the result. Bound by memory.

namespace stipple::cuda {
namespace {

// Some dimensions of a tensor, innermost first: where its i-th element lies.
struct Walk {
  int rank = 0;
  int64_t extents[Shape::kMaxRank], strides[Shape::kMaxRank];

  void add(int64_t extent, int64_t stride) {
    extents[rank] = extent;
    strides[rank++] = stride;
  }
  __device__ int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int d = 0; d < rank; ++d) {
      at += i % extents[d] * strides[d];
      i /= extents[d];
    }
    return at;
  }
};

// `own` as it is walked when stretched to `shape`: dimensions of extent 1 do not move.
Walk stretched(const Shape& own, const Shape& shape) {
  Walk walk;
  int64_t stride = 1;
  for (int i = 1; i <= shape.rank(); ++i) {
    const int64_t extent = i <= own.rank() ? own[-i] : 1;
    walk.add(shape[-i], extent == 1 ? 0 : stride);
    stride *= extent;
  }
  return walk;
}

template <Binary kOperation>
__device__ float combine(float a, float b) {
  if constexpr (kOperation == Binary::add)
    return a + b;
  else if constexpr (kOperation == Binary::subtract)
    return a - b;
  else if constexpr (kOperation == Binary::multiply)
    return a * b;
  else
    return a / b;
}

template <Binary kOperation, typename T>
__global__ void binary_kernel(T* __restrict__ y, const T* __restrict__ a, const T* __restrict__ b, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) y[i] = combine<kOperation>(a[i], b[i]);
}

template <Binary kOperation, typename T>
__global__ void broadcast_kernel(T* __restrict__ y, const T* __restrict__ a, Walk walk_a, const T* __restrict__ b,
                                 Walk walk_b, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) y[i] = combine<kOperation>(a[walk_a.offset(i)], b[walk_b.offset(i)]);
}

template <typename T>
__global__ void affine_kernel(T* __restrict__ y, const T* __restrict__ x, float scale, float shift, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) y[i] = scale * static_cast<float>(x[i]) + shift;
}

template <typename T>
__global__ void accumulate_kernel(T* __restrict__ to, const T* __restrict__ x, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) to[i] = static_cast<float>(to[i]) + static_cast<float>(x[i]);
}

template <typename T>
__global__ void sum_kernel(T* __restrict__ y, const T* __restrict__ x, Walk kept, Walk summed, int64_t count) {
  const int64_t first = kept.offset(blockIdx.x);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += static_cast<float>(x[first + summed.offset(i)]);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

template <Binary kOperation>
struct Operation {
  static constexpr Binary value = kOperation;
};

template <typename F>
void for_operation(Binary operation, F&& f) {
  switch (operation) {
    case Binary::add:
      return f(Operation<Binary::add>{});
    case Binary::subtract:
      return f(Operation<Binary::subtract>{});
    case Binary::multiply:
      return f(Operation<Binary::multiply>{});
    case Binary::divide:
      return f(Operation<Binary::divide>{});
  }
}

}  // namespace

void binary(Tensor& y, Binary operation, const Tensor& a, const Tensor& b) {
  const int64_t n = y.numel();
  if (n == 0) return;
  for_floating(name_of(operation), y.dtype(), [&]<typename T>(T) {
    for_operation(operation, [&]<typename O>(O) {
      if (a.shape() == b.shape())
        launch(binary_kernel<O::value, T>, blocks_for(n), kThreads, 0, mutable_data<T>(y), data<T>(a), data<T>(b), n);
      else
        launch(broadcast_kernel<O::value, T>, blocks_for(n), kThreads, 0, mutable_data<T>(y), data<T>(a),
               stretched(a.shape(), y.shape()), data<T>(b), stretched(b.shape(), y.shape()), n);
    });
  });
}

void affine(Tensor& y, const Tensor& x, double scale, double shift) {
  if (x.numel() == 0) return;
  for_floating("affine", x.dtype(), [&]<typename T>(T) {
    launch(affine_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x),
           static_cast<float>(scale), static_cast<float>(shift), x.numel());
  });
}

void accumulate(const Tensor& to, const Tensor& x) {
  if (x.numel() == 0) return;
  for_floating("accumulate", x.dtype(), [&]<typename T>(T) {
    launch(accumulate_kernel<T>, blocks_for(x.numel()), kThreads, 0, mutable_data<T>(to), data<T>(x), x.numel());
  });
}

void sum_to(Tensor& y, const Tensor& x) {
  if (y.numel() == 0) return;
  Walk kept, summed;
  int64_t stride = 1;
  for (int i = 1; i <= x.rank(); ++i) {
    const bool keeps = i <= y.rank() && y.dim(-i) == x.dim(-i);
    (keeps ? kept : summed).add(x.dim(-i), stride);
    stride *= x.dim(-i);
  }
  for_floating("sum_to", x.dtype(), [&]<typename T>(T) {
    launch(sum_kernel<T>, dim3(static_cast<unsigned>(y.numel())), kThreads, 0, mutable_data<T>(y), data<T>(x), kept,
           summed, x.numel() / y.numel());
  });
}

}  // namespace stipple::cuda
