#pragma once
#include "kernels/cuda/conv2d/correlation.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"

// How the tensor-core product of mma.cu fetches its stages: kRows pixels' windows and kColumns filters, 64 bytes of
// depth of each, in chunks of 16 bytes. A row of a tile is 4 chunks, and chunk c of row i lies at place c ^ (i / 2):
// the eight rows that ldmatrix reads at once then lie in eight different groups of banks.

namespace stipple::cuda::mma {

constexpr int kRows = 128;
constexpr int kChunk = 16, kChunks = 4, kRowBytes = kChunk * kChunks;  // of a stage
constexpr int kRowsAtOnce = kThreads / kChunks;                        // that the block fetches, a chunk a thread

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
  __device__ int64_t offset(const Correlation& g) const { return ((int64_t{image} * g.h + h) * g.w + w) * g.c; }
};

// Fetches a thread's share of every stage, by asynchronous copies of whole chunks. For channels in whole chunks, at
// least as many as a stage is deep, and at most 31 taps: which of them lie inside the picture is one bit each, found
// once, and all of a thread's rows are at the same distance from where their windows begin: an address is one
// instruction. Where nothing is to be copied it may be anywhere.
template <typename T, int kColumns>
class ChunkFetcher {
 public:
  static constexpr int kDepth = kRowBytes / sizeof(T);  // of a stage
  static constexpr int kMostTaps = 31;
  static bool takes(const Correlation& g) {
    return g.c % (kChunk / sizeof(T)) == 0 && g.c >= kDepth && g.r * g.s <= kMostTaps;
  }

  __device__ ChunkFetcher(const Correlation& geometry, const Joined<const T>& x, const T* weight, int row, int column,
                          int depth)
      : g(geometry), x_(x.a), place_(ptx::kept(chunk_offset(threadIdx.x / kChunks, threadIdx.x % kChunks))) {
    const int e = depth + threadIdx.x % kChunks * (kChunk / static_cast<int>(sizeof(T)));
    row += threadIdx.x / kChunks, column += threadIdx.x / kChunks;
    tap_ = 1u << (e / g.c), c_ = e % g.c;
    for (int r = 1; r < g.r; ++r) row_begins_ |= 1u << (r * g.s);
    along_window_ = e / (g.s * g.c) * g.w * g.c + e % (g.s * g.c), along_filter_ = e;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const Window window(g, row + i * kRowsAtOnce);
      window_[i] = ptx::kept(x_ + window.offset(g));
      inside_[i] = taps_inside(window);
    }
#pragma unroll
    for (int i = 0; i < kFilters; ++i) {
      filter_[i] = ptx::kept(weight + int64_t{column + i * kRowsAtOnce} * g.window());
      filter_exists_[i] = column + i * kRowsAtOnce < g.filters ? (1u << (g.r * g.s)) - 1 : 0;
    }
  }

  // Starts the copies of the next stage.
  __device__ void operator()(std::byte* a, std::byte* b) {
    if (c_ >= g.c) enter_tap();
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const bool inside = inside_[i] & tap_;
      ptx::cp_async<kChunk>(a + place_ + i * kRowsAtOnce * kRowBytes, window_[i] + along_window_, inside ? kChunk : 0);
    }
#pragma unroll
    for (int i = 0; i < kFilters; ++i) {
      const bool inside = filter_exists_[i] & tap_;
      ptx::cp_async<kChunk>(b + place_ + i * kRowsAtOnce * kRowBytes, filter_[i] + along_filter_, inside ? kChunk : 0);
    }
    c_ += kDepth, along_window_ += kDepth, along_filter_ += kDepth;
  }

 private:
  static constexpr int kPixels = kRows / kRowsAtOnce, kFilters = kColumns / kRowsAtOnce;

  __device__ uint32_t taps_inside(const Window& window) const {
    uint32_t taps = 0;
    for (int r = 0; r < g.r; ++r)
      for (int s = 0; s < g.s; ++s) taps |= static_cast<uint32_t>(window.sees(g, r, s)) << (r * g.s + s);
    return taps;
  }

  // Within a row of the window x lies without gaps; behind the last tap no bit is set.
  __device__ void enter_tap() {
    c_ -= g.c, tap_ <<= 1;
    if (tap_ & row_begins_) along_window_ += (g.w - g.s) * g.c;
  }

  const Correlation& g;
  const T* x_;
  int place_;                        // of its chunk in a tile
  uint32_t tap_;                     // the bit of the tap it has reached,
  int c_;                            // and how far it is in the tap
  int along_window_, along_filter_;  // elements from where these begin
  uint32_t row_begins_ = 0;          // the taps with which rows of the window begin
  const T* window_[kPixels];         // may begin outside the picture: nothing is read there
  uint32_t inside_[kPixels];
  const T* filter_[kFilters];
  uint32_t filter_exists_[kFilters];
};

// Likewise for any shape, element by element.
template <typename T, int kColumns>
class ElementFetcher {
 public:
  __device__ ElementFetcher(const Correlation& geometry, const Joined<const T>& x, const T* weight, int row, int column,
                            int depth)
      : g(geometry), x_(x.a), weight_(weight), row_(row), column_(column), depth_(depth) {}

  __device__ void operator()(std::byte* a, std::byte* b) {
    const int chunk = threadIdx.x % kChunks, e = depth_ + chunk * kLength;
#pragma unroll 1  // the few registers beside the sums do not bear more
    for (int row = threadIdx.x / kChunks; row < kRows; row += kRowsAtOnce)
      fetch_window(reinterpret_cast<T*>(a + chunk_offset(row, chunk)), Window(g, row_ + row), e);
#pragma unroll 1
    for (int column = threadIdx.x / kChunks; column < kColumns; column += kRowsAtOnce)
      fetch_filter(reinterpret_cast<T*>(b + chunk_offset(column, chunk)), column_ + column, e);
    depth_ += kChunks * kLength;
  }

 private:
  static constexpr int kLength = kChunk / sizeof(T);

  __device__ void fetch_window(T* to, const Window& window, int e) const {
    for (int j = 0; j < kLength; ++j, ++e) {
      const int c = e % g.c, s = e / g.c % max(1, g.s), r = e / g.c / max(1, g.s);
      to[j] = r < g.r && window.sees(g, r, s) ? x_[window.offset(g) + (int64_t{r} * g.w + s) * g.c + c] : T(0.f);
    }
  }
  __device__ void fetch_filter(T* to, int filter, int e) const {
    for (int j = 0; j < kLength; ++j, ++e)
      to[j] = filter < g.filters && e < g.window() ? weight_[int64_t{filter} * g.window() + e] : T(0.f);
  }

  const Correlation& g;
  const T *x_, *weight_;
  int row_, column_, depth_;
};

}  // namespace stipple::cuda::mma
