#pragma once
#include "kernels/cuda/conv2d/correlation.h"
#include "kernels/cuda/conv2d/tile_shape.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"

// How the tensor-core product of mma.cu fetches its stages: its pixels' windows and its filters, 64 bytes of depth of
// each, in chunks of 16 bytes. A row of a tile is 4 chunks, and chunk c of row i lies at place c ^ (i / 2) % 4:
// the eight rows that ldmatrix reads at once then lie in eight different groups of banks.

namespace stipple::cuda::mma {

constexpr int kChunk = 16, kChunks = 4, kRowBytes = kChunk * kChunks;  // of a stage
constexpr int kMostTaps = 16;

// Where a chunk lies in a tile, in bytes.
__device__ inline int chunk_offset(int row, int chunk) {
  return row * kRowBytes + ((chunk ^ (row / 2)) % kChunks) * kChunk;
}

// The top left pixel of a pixel's window.
struct Window {
  int image, h, w;
  bool exists;
  __device__ Window(const Correlation& g, int pixel)
      : image(pixel / (g.rows * g.columns)),
        h(pixel % (g.rows * g.columns) / g.columns * g.stride - g.top),
        w(pixel % g.columns * g.stride - g.left),
        exists(pixel < g.pixels()) {}
  __device__ bool sees(const Correlation& g, int r, int s) const {
    return exists && static_cast<unsigned>(h + r) < static_cast<unsigned>(g.h) &&
           static_cast<unsigned>(w + s) < static_cast<unsigned>(g.w);
  }
  // The taps that lie inside the picture, a bit each.
  __device__ uint32_t taps_inside(const Correlation& g) const {
    uint32_t taps = 0;
    for (int r = 0; r < g.r; ++r)
      for (int s = 0; s < g.s; ++s) taps |= static_cast<uint32_t>(sees(g, r, s)) << (r * g.s + s);
    return taps;
  }
  // The number of its first pixel, which may lie outside.
  __device__ int first_pixel(const Correlation& g) const { return (image * g.h + h) * g.w + w; }
  __device__ int64_t offset(const Correlation& g) const { return int64_t{first_pixel(g)} * g.c; }
};

// Fetches a thread's share of every stage, by asynchronous copies of whole chunks. A stage is 64 bytes of channels of
// one tap; taps go by before the next channels come, so that the pixels that one tap has brought are still in L1 when
// the next wants most of them again: x comes from L2 about once instead of once a tap. For channels in whole chunks and
// at most 16 taps: which of them lie inside the picture is one bit each, found once, and all of a thread's rows are at
// the same distance from where their windows begin: an address is one instruction. Where nothing is to be copied it may
// be anywhere.
template <typename Tile>
class ChunkFetcher {
  using T = typename Tile::T;
  static constexpr int kRowsAtOnce = Tile::kThreads / kChunks;  // that the block's threads fetch, a chunk each

 public:
  static constexpr int kDepth = kRowBytes / sizeof(T);  // of a stage
  __host__ __device__ static int stages(const Correlation& g) { return g.r * g.s * ((g.c + kDepth - 1) / kDepth); }

  __device__ ChunkFetcher(const Correlation& geometry, const Joined<const T>& x, const T* weight, int row, int column,
                          int stage)
      : g(geometry), place_(ptx::kept(chunk_offset(threadIdx.x / kChunks, threadIdx.x % kChunks))) {
    const int taps = max(1, g.r * g.s), tap = stage % taps;  // no taps: no stages either
    row += threadIdx.x / kChunks, column += threadIdx.x / kChunks;
    tap_ = 1u << tap;
    channel_ = stage / taps * kDepth + threadIdx.x % kChunks * (kChunk / static_cast<int>(sizeof(T)));
    end_ = 1u << g.r * g.s;
    for (int r = 1; r <= g.r; ++r) row_begins_ |= 1u << (r * g.s);
    along_window_ = (tap / max(1, g.s) * g.w + tap % max(1, g.s)) * g.c + channel_;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const Window window(g, row + i * kRowsAtOnce);
      window_[i] = ptx::kept(x.a + window.offset(g));
      inside_[i / 2] |= window.taps_inside(g) << i % 2 * kMostTaps;
    }
    along_filter_ = tap * g.c + channel_;
#pragma unroll
    for (int i = 0; i < kFilters; ++i)
      filter_[i] = ptx::kept(weight + int64_t{min(column + i * kRowsAtOnce, g.filters - 1)} * g.window());
    end_if_done();
  }

  // Starts the copies of the next stage.
  __device__ void operator()(std::byte* a, std::byte* b) {
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      ptx::cp_async<kChunk, ptx::Past::nothing>(a + place_ + i * kRowsAtOnce * kRowBytes, window_[i] + along_window_,
                                                inside_[i / 2] & tap_ << i % 2 * kMostTaps ? kChunk : 0);
#pragma unroll
    for (int i = 0; i < kFilters; ++i)
      ptx::cp_async<kChunk>(b + place_ + i * kRowsAtOnce * kRowBytes, filter_[i] + along_filter_,
                            channels_left_ ? kChunk : 0);
    go_on();
  }

 private:
  static constexpr int kPixels = Tile::kRows / kRowsAtOnce, kFilters = Tile::kColumns / kRowsAtOnce;
  static_assert(Tile::kRows % kRowsAtOnce == 0 && Tile::kColumns % kRowsAtOnce == 0);

  // To the next tap; behind the last one to the first, of the next channels.
  __device__ void go_on() {
    tap_ <<= 1, along_window_ += g.c, along_filter_ += g.c;
    if (tap_ & row_begins_) along_window_ += (g.w - g.s) * g.c;
    if (!(tap_ & end_)) return;
    tap_ = 1, channel_ += kDepth;
    along_window_ += kDepth - g.r * g.w * g.c, along_filter_ += kDepth - g.window();
    end_if_done();
  }
  // Behind the last channel nothing is inside.
  __device__ void end_if_done() {
    if (channel_ < g.c) return;
    channels_left_ = false;
#pragma unroll
    for (int i = 0; i < kPixels / 2; ++i) inside_[i] = 0;
  }

  const Correlation& g;
  int place_;                          // of its chunk in a tile
  uint32_t tap_;                       // the bit of the tap it has reached,
  int channel_;                        // and the channel
  int along_window_, along_filter_;    // elements from where they begin
  uint32_t end_, row_begins_ = 0;      // the one behind the last tap, and all with which rows of the window begin
  const T* window_[kPixels];           // may begin outside the picture: nothing is read there
  uint32_t inside_[kPixels / 2] = {};  // a bit a tap, two pixels in one
  bool channels_left_ = true;          // none behind the last channel
  const T* filter_[kFilters];          // behind the last one, the last: its sums are not stored
};

}  // namespace stipple::cuda::mma
