#pragma once
#include "kernels/cuda/conv2d/stage_fetcher.h"
#include "kernels/cuda/joined.h"

namespace stipple::cuda::mma {

// Fetches stages of a convolution with 1x1 filters, where a pixel of y sees the same pixel of x: the channels of one
// tensor, or those of two, one after the other. For channels in whole chunks.
template <typename Tile>
class PixelFetcher {
  using T = typename Tile::T;
  static constexpr int kRowsAtOnce = Tile::kThreads / kChunks;  // that the block's threads fetch, a chunk each

 public:
  static bool takes(const Correlation& g, const Concat<Tensor>& x) {
    const bool pixel_for_pixel =
        g.r * g.s == 1 && g.stride == 1 && g.top == 0 && g.left == 0 && g.rows == g.h && g.columns == g.w;
    return pixel_for_pixel && x.a.dim(-1) % kLength == 0 && x.b_channels() % kLength == 0;
  }

  __host__ __device__ static int stages(const Correlation& g) { return (g.c + kDepth - 1) / kDepth; }

  __device__ PixelFetcher(const Correlation& geometry, const Joined<const T>& x, const T* weight, int row, int column,
                          int stage)
      : g(geometry),
        x_(x),
        place_(ptx::kept(chunk_offset(threadIdx.x / kChunks, threadIdx.x % kChunks))),
        row_(row + threadIdx.x / kChunks),
        channel_(stage * kDepth + threadIdx.x % kChunks * kLength) {
    column += threadIdx.x / kChunks;
#pragma unroll
    for (int i = 0; i < kFilters; ++i)
      filter_[i] = ptx::kept(weight + int64_t{min(column + i * kRowsAtOnce, g.filters - 1)} * g.c);
    enter();
  }

  // Starts the copies of the next stage.
  __device__ void operator()(std::byte* a, std::byte* b) {
    if (static_cast<unsigned>(channel_ - x_.a_channels) < kDepth) enter();
    const int bytes = channel_ < g.c ? kChunk : 0;
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      ptx::cp_async<kChunk>(a + place_ + i * kRowsAtOnce * kRowBytes, pixel_[i] + channel_, bytes);
#pragma unroll
    for (int i = 0; i < kFilters; ++i)
      ptx::cp_async<kChunk>(b + place_ + i * kRowsAtOnce * kRowBytes, filter_[i] + channel_, bytes);
    channel_ += kDepth;
  }

 private:
  static constexpr int kLength = kChunk / sizeof(T), kDepth = kRowBytes / sizeof(T);
  static constexpr int kPixels = Tile::kRows / kRowsAtOnce, kFilters = Tile::kColumns / kRowsAtOnce;
  static_assert(Tile::kRows % kRowsAtOnce == 0 && Tile::kColumns % kRowsAtOnce == 0);

  // The tensor that holds the channel it has reached.
  __device__ void enter() {
    const auto column = x_.column(channel_);
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      pixel_[i] = ptx::kept(column(min(row_ + i * kRowsAtOnce, g.pixels() - 1)) - channel_);
  }

  const Correlation& g;
  const Joined<const T>& x_;
  int place_;    // of its chunk in a tile
  int row_;      // its first pixel,
  int channel_;  // and the channel it has reached
  // Of pixels, less the channels of the tensor before: a channel's place is one addition. Behind the last pixel or
  // filter, the last: their sums are not stored.
  const T* pixel_[kPixels];
  const T* filter_[kFilters];
};

}  // namespace stipple::cuda::mma
