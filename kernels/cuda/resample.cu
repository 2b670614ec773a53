#include "kernels/cuda/launch.h"
#include "kernels/resample.h"

// resample: one element of the result a thread, channels innermost, so that a warp reads and writes whole sectors.
// Every element of the larger picture is moved once.

namespace stipple::cuda {
namespace {

// The sizes of a pair of pictures: a block of kernel x kernel pixels of the large one belongs to each pixel of the
// small.
struct Blocks {
  int64_t height, width, channels, kernel, large_height, large_width, small_elements, large_elements;

  Blocks(const Tensor& small, const Tensor& large, int64_t k)
      : height(small.dim(1)),
        width(small.dim(2)),
        channels(small.dim(3)),
        kernel(k),
        large_height(large.dim(1)),
        large_width(large.dim(2)),
        small_elements(small.numel()),
        large_elements(large.numel()) {}

  // The element of the small picture that element `at` of the large one belongs to; -1 where it fills no block.
  __device__ int64_t small_of(int64_t at) const {
    const int64_t c = at % channels, pixel = at / channels;
    const int64_t w = pixel % large_width / kernel, row = pixel / large_width;
    const int64_t h = row % large_height / kernel, n = row / large_height;
    return h < height && w < width ? ((n * height + h) * width + w) * channels + c : -1;
  }
  // The first element of the block of element `at` of the small picture.
  __device__ int64_t first_of(int64_t at) const {
    const int64_t c = at % channels, pixel = at / channels;
    const int64_t w = pixel % width, row = pixel / width, h = row % height, n = row / height;
    return ((n * large_height + h * kernel) * large_width + w * kernel) * channels + c;
  }
  // The i-th of a block, in reading order.
  __device__ int64_t element_of(int64_t first, int64_t i) const {
    return first + (i / kernel * large_width + i % kernel) * channels;
  }
};

// large = scale * small of its block, 0 where there is none
template <typename T>
__global__ void spread_kernel(T* __restrict__ large, const T* __restrict__ small, Blocks b, float scale) {
  const int64_t at = global_thread();
  if (at >= b.large_elements) return;
  const int64_t from = b.small_of(at);
  large[at] = from < 0 ? 0.f : scale * static_cast<float>(small[from]);
}

// small = scale * sum of its block
template <typename T>
__global__ void gather_kernel(T* __restrict__ small, const T* __restrict__ large, Blocks b, float scale) {
  const int64_t at = global_thread();
  if (at >= b.small_elements) return;
  const int64_t first = b.first_of(at);
  float sum = 0;
  for (int64_t i = 0; i < b.kernel * b.kernel; ++i) sum += static_cast<float>(large[b.element_of(first, i)]);
  small[at] = scale * sum;
}

// The largest of a block, the first of equals; NaN wins and stays, as in PyTorch.
template <typename T>
__device__ int64_t largest_of(const T* x, const Blocks& b, int64_t first) {
  int64_t largest = first;
  for (int64_t i = 1; i < b.kernel * b.kernel; ++i) {
    const int64_t at = b.element_of(first, i);
    const float candidate = x[at], best = x[largest];
    if (candidate > best || candidate != candidate) largest = at;
  }
  return largest;
}

template <typename T>
__global__ void max_pool2d_kernel(T* __restrict__ y, const T* __restrict__ x, Blocks b) {
  const int64_t at = global_thread();
  if (at < b.small_elements) y[at] = x[largest_of(x, b, b.first_of(at))];
}

template <typename T>
__global__ void max_pool2d_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x,
                                           Blocks b) {
  const int64_t at = global_thread();
  if (at >= b.large_elements) return;
  const int64_t from = b.small_of(at);
  const bool takes = from >= 0 && largest_of(x, b, b.first_of(from)) == at;
  dx[at] = takes ? static_cast<float>(dy[from]) : 0.f;
}

void spread(const char* operation, Tensor& large, const Tensor& small, int64_t kernel, float scale) {
  if (large.numel() == 0) return;
  for_floating(operation, large.dtype(), [&]<typename T>(T) {
    launch(spread_kernel<T>, blocks_for(large.numel()), kThreads, 0, mutable_data<T>(large), data<T>(small),
           Blocks(small, large, kernel), scale);
  });
}

void gather(const char* operation, Tensor& small, const Tensor& large, int64_t kernel, float scale) {
  if (small.numel() == 0) return;
  for_floating(operation, small.dtype(), [&]<typename T>(T) {
    launch(gather_kernel<T>, blocks_for(small.numel()), kThreads, 0, mutable_data<T>(small), data<T>(large),
           Blocks(small, large, kernel), scale);
  });
}

float share(int64_t kernel) { return 1.f / static_cast<float>(kernel * kernel); }

}  // namespace

void upsample_nearest(Tensor& y, const Tensor& x) { spread("upsample_nearest", y, x, 2, 1); }
void upsample_nearest_backward(Tensor& dx, const Tensor& dy) { gather("upsample_nearest", dx, dy, 2, 1); }

void avg_pool2d(Tensor& y, const Tensor& x, int64_t kernel) { gather("avg_pool2d", y, x, kernel, share(kernel)); }
void avg_pool2d_backward(Tensor& dx, const Tensor& dy, int64_t kernel) {
  spread("avg_pool2d", dx, dy, kernel, share(kernel));
}

void max_pool2d(Tensor& y, const Tensor& x, int64_t kernel) {
  if (y.numel() == 0) return;
  for_floating("max_pool2d", x.dtype(), [&]<typename T>(T) {
    launch(max_pool2d_kernel<T>, blocks_for(y.numel()), kThreads, 0, mutable_data<T>(y), data<T>(x),
           Blocks(y, x, kernel));
  });
}

void max_pool2d_backward(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t kernel) {
  if (dx.numel() == 0) return;
  for_floating("max_pool2d", x.dtype(), [&]<typename T>(T) {
    launch(max_pool2d_backward_kernel<T>, blocks_for(dx.numel()), kThreads, 0, mutable_data<T>(dx), data<T>(dy),
           data<T>(x), Blocks(dy, dx, kernel));
  });
}

}  // namespace stipple::cuda
