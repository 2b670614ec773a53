#pragma once
#include "kernels/cuda/conv2d/stage_fetcher.h"
#include "kernels/cuda/joined.h"

namespace stipple::cuda::mma {

// Fetches stages of a convolution with 1x1 filters, where a pixel of y sees the same pixel of x: the channels of one
// tensor, or those of two, one after the other. For channels in whole chunks.
template <typename T, int kColumns>
class PixelFetcher {
 public:
  static bool takes(const Correlation& g, const Concat<Tensor>& x) {
    const bool pixel_for_pixel =
        g.r * g.s == 1 && g.stride == 1 && g.top == 0 && g.left == 0 && g.rows == g.h && g.columns == g.w;
    return pixel_for_pixel && x.a.dim(-1) % kLength == 0 && x.b_channels() % kLength == 0;
  }

  __device__ PixelFetcher(const Correlation& geometry, const Joined<const T>& x, const T* weight, int row, int column,
                          int depth)
      : g(geometry),
        x_(x),
        place_(chunk_offset(threadIdx.x / kChunks, threadIdx.x % kChunks)),
        row_(row + threadIdx.x / kChunks),
        column_(column + threadIdx.x / kChunks),
        e_(depth + threadIdx.x % kChunks * kLength),
        filter_(weight + int64_t{column_} * g.c + e_) {
    enter();
  }

  // Starts the copies of the next stage.
  __device__ void operator()(std::byte* a, std::byte* b) {
    const bool inside = e_ < g.c;
#pragma unroll
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      const bool exists = inside && row_ + i * kRowsAtOnce < g.pixels();
      ptx::cp_async<kChunk>(a + place_ + i * kRowsAtOnce * kRowBytes,
                            exists ? from_ + int64_t{i} * kRowsAtOnce * stride_ : x_.a, exists ? kChunk : 0);
    }
#pragma unroll
    for (int i = 0; i < kColumns / kRowsAtOnce; ++i) {
      const bool exists = inside && column_ + i * kRowsAtOnce < g.filters;
      ptx::cp_async<kChunk>(b + place_ + i * kRowsAtOnce * kRowBytes,
                            exists ? filter_ + int64_t{i} * kRowsAtOnce * g.c : x_.a, exists ? kChunk : 0);
    }
    e_ += kDepth, from_ += kDepth, filter_ += kDepth;
    if (!second_ && e_ >= x_.a_channels) enter();
  }

 private:
  static constexpr int kLength = kChunk / sizeof(T), kDepth = kRowBytes / sizeof(T);

  // The tensor that holds channel e_.
  __device__ void enter() {
    const auto column = x_.column(e_);
    second_ = e_ >= x_.a_channels;
    stride_ = column.stride;
    from_ = column(row_);
  }

  const Correlation& g;
  const Joined<const T>& x_;
  int place_;         // of its chunk in a tile
  int row_, column_;  // its first pixel and filter
  int e_;             // the channel it has reached,
  bool second_;       // and whether that lies in the second tensor
  int stride_;        // of that tensor's pixels
  const T *from_, *filter_;
};

}  // namespace stipple::cuda::mma
