#include "kernels/resample.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace stipple::cpu {
namespace {

// The sizes of the small picture of a pair, and the step from one to the other: a block of kernel x kernel pixels of
// the large one belongs to each pixel of the small one.
struct Blocks {
  int64_t images, height, width, channels, kernel, large_height, large_width;

  Blocks(const Tensor& small, const Tensor& large, int64_t k)
      : images(small.dim(0)),
        height(small.dim(1)),
        width(small.dim(2)),
        channels(small.dim(3)),
        kernel(k),
        large_height(large.dim(1)),
        large_width(large.dim(2)) {}

  int64_t small_at(int64_t n, int64_t h, int64_t w) const { return ((n * height + h) * width + w) * channels; }
  int64_t large_at(int64_t n, int64_t h, int64_t w) const {
    return ((n * large_height + h) * large_width + w) * channels;
  }

  // f(offset of a small pixel, offset of the first of its large pixels), a row of the small picture a task
  template <typename F>
  void for_each(F&& f) const {
    parallel_for(images * height, [&](int64_t row) {
      const int64_t n = row / height, h = row % height;
      for (int64_t w = 0; w < width; ++w) f(small_at(n, h, w), large_at(n, h * kernel, w * kernel));
    });
  }

  // f(offset of a large pixel of the block that starts at `first`), in reading order
  template <typename F>
  void for_block(int64_t first, F&& f) const {
    for (int64_t i = 0; i < kernel; ++i)
      for (int64_t j = 0; j < kernel; ++j) f(first + (i * large_width + j) * channels);
  }
};

// large = scale * small of its block
template <typename T>
void spread(T* large, const T* small, const Blocks& b, T scale) {
  b.for_each([&](int64_t s, int64_t first) {
    b.for_block(first, [&](int64_t l) {
      for (int64_t c = 0; c < b.channels; ++c) large[l + c] = scale * small[s + c];
    });
  });
}

// small = scale * sum of its block
template <typename T>
void gather(T* small, const T* large, const Blocks& b, T scale) {
  b.for_each([&](int64_t s, int64_t first) {
    std::fill_n(small + s, b.channels, T{0});
    b.for_block(first, [&](int64_t l) {
      for (int64_t c = 0; c < b.channels; ++c) small[s + c] += scale * large[l + c];
    });
  });
}

// What the pixels that fill no block get.
void clear_if_ragged(Tensor& large, const Blocks& b) {
  if (b.large_height % b.kernel || b.large_width % b.kernel) large.fill(0);
}

// Whether `candidate` takes the place of the largest so far; NaN wins and stays, as in PyTorch.
template <typename T>
bool beats(T candidate, T largest) {
  return candidate > largest || candidate != candidate;
}

}  // namespace

void upsample_nearest(Tensor& y, const Tensor& x) {
  for_real("upsample_nearest", x.dtype(),
           [&]<typename T>(T) { spread(y.mutable_data<T>(), x.data<T>(), Blocks(x, y, 2), T{1}); });
}

void upsample_nearest_backward(Tensor& dx, const Tensor& dy) {
  for_real("upsample_nearest", dy.dtype(),
           [&]<typename T>(T) { gather(dx.mutable_data<T>(), dy.data<T>(), Blocks(dx, dy, 2), T{1}); });
}

void avg_pool2d(Tensor& y, const Tensor& x, int64_t kernel) {
  for_real("avg_pool2d", x.dtype(), [&]<typename T>(T) {
    gather(y.mutable_data<T>(), x.data<T>(), Blocks(y, x, kernel), T{1} / (kernel * kernel));
  });
}

void avg_pool2d_backward(Tensor& dx, const Tensor& dy, int64_t kernel) {
  const Blocks b(dy, dx, kernel);
  clear_if_ragged(dx, b);
  for_real("avg_pool2d", dy.dtype(),
           [&]<typename T>(T) { spread(dx.mutable_data<T>(), dy.data<T>(), b, T{1} / (kernel * kernel)); });
}

void max_pool2d(Tensor& y, const Tensor& x, int64_t kernel) {
  for_real("max_pool2d", x.dtype(), [&]<typename T>(T) {
    const Blocks b(y, x, kernel);
    T* to = y.mutable_data<T>();
    const T* from = x.data<T>();
    b.for_each([&](int64_t s, int64_t first) {
      std::copy_n(from + first, b.channels, to + s);
      b.for_block(first, [&](int64_t l) {
        for (int64_t c = 0; c < b.channels; ++c) to[s + c] = beats(from[l + c], to[s + c]) ? from[l + c] : to[s + c];
      });
    });
  });
}

void max_pool2d_backward(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t kernel) {
  const Blocks b(dy, dx, kernel);
  clear_if_ragged(dx, b);
  for_real("max_pool2d", dy.dtype(), [&]<typename T>(T) {
    T* to = dx.mutable_data<T>();
    const T *upstream = dy.data<T>(), *from = x.data<T>();
    b.for_each([&](int64_t s, int64_t first) {
      b.for_block(first, [&](int64_t l) { std::fill_n(to + l, b.channels, T{0}); });
      for (int64_t c = 0; c < b.channels; ++c) {
        int64_t largest = first;
        b.for_block(first, [&](int64_t l) { largest = beats(from[l + c], from[largest + c]) ? l : largest; });
        to[largest + c] = upstream[s + c];
      }
    });
  });
}

}  // namespace stipple::cpu
