#pragma once
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/vector_access.h"

// Tiles of tokens in shared memory, and how they come and go.
//
// A token's row is kWidth elements, zeros behind the head's own. It is chunks of 16 bytes, and lies in lines of 128
// bytes, all banks wide: a long row is several lines, several short ones share one. Within its line, a chunk's place is
// turned by row or line i: place ^ i ^ 2i. So all of these meet no bank twice: eight rows' chunks of one column
// (ldmatrix), two neighbouring chunks of rows 0 to 3, of rows 4 to 7, and of rows 0, 2, 4 and 6 (f32 by columns), and
// whole lines (copies).

namespace stipple::cuda {

inline constexpr int kChunkBytes = 16, kLineBytes = 128;

template <typename T>
inline constexpr int kChunkLength = kChunkBytes / static_cast<int>(sizeof(T));

template <typename Element, int kRowWidth>
struct Tile {
  using T = Element;
  static constexpr int kWidth = kRowWidth, kLength = kChunkLength<T>, kChunks = kWidth / kLength;
  static constexpr int kRowBytes = kChunks * kChunkBytes,
                       kRowsALine = kRowBytes < kLineBytes ? kLineBytes / kRowBytes : 1;
  static constexpr int kSteps = kRowBytes / 32;  // of a product along rows

  std::byte* at;

  // Where a chunk lies, in bytes. Exclusive or's only: of rows and of numbers that share no bit, the offset of a sum is
  // the exclusive or of the offsets.
  __device__ static constexpr int offset(int row, int number) {
    const int line = row / kRowsALine;
    return ((row * kChunks + number) ^ ((line ^ line * 2) % 8)) * kChunkBytes;
  }
  __device__ std::byte* chunk(int row, int number) const { return at + offset(row, number); }
  __device__ T* element(int row, int column) const {
    return reinterpret_cast<T*>(chunk(row, column / kLength)) + column % kLength;
  }
  // The columns from there on, a whole number of lines; the rows, a whole number of times eight lines.
  __device__ Tile from_column(int column) const { return {at + column * sizeof(T)}; }
  __device__ Tile from_row(int row) const { return {at + row * kRowBytes}; }
};

// The chunk of a tile where a thread reads or writes, worked out once. Those at constant distances from it, of rows and
// numbers that share no bit with its own, are then an addition away, and within a line an exclusive or.
template <typename Rows>
struct OwnChunk {
  int place;  // in bytes

  __device__ OwnChunk(int row, int number, int byte = 0) : place(ptx::kept(Rows::offset(row, number) + byte)) {}
  __device__ std::byte* operator()(const Rows& tile, int rows, int numbers) const {
    const int offset = Rows::offset(rows, numbers);
    return tile.at + (place ^ offset % kLineBytes) + offset / kLineBytes * kLineBytes;
  }
};

// The rows of one head of one image in q, k, v or y: `width` elements, whole chunks, every `stride`.
template <typename T>
struct HeadRows {
  T* first;
  int tokens, width, stride;

  __device__ HeadRows(T* tensor, int head, int heads, int token_count, int head_width)
      : tokens(token_count), width(head_width), stride(heads * head_width) {
    first = tensor + (int64_t{head / heads} * tokens * heads + head % heads) * width;
  }
  __device__ HeadRows(T* start, int token_count, int row_width, int row_stride)
      : first(start), tokens(token_count), width(row_width), stride(row_stride) {}
  __device__ T* row(int token) const { return first + int64_t{token} * stride; }
  __device__ HeadRows from_column(int column) const { return {first + column, tokens, width - column, stride}; }
};

// Fetches tiles of kRows tokens, from `token` on: a thread's share are the chunks of one column, kApart rows apart.
// What is outside becomes zero. (Tried: a pointer that goes from copy to copy, and sums by mad.wide in assembly, for
// ptxas takes three instructions for some of them: 6 to 30 more a tile in most kernels.)
template <typename Rows, int kRows, int kThreads>
class TileFetcher {
  using T = typename Rows::T;
  static constexpr int kApart = kThreads / Rows::kChunks, kCopies = kRows > kApart ? kRows / kApart : 1;
  static constexpr bool kFew = kCopies <= 4;  // places of so few are kept
  static_assert(kThreads % Rows::kChunks == 0 && (kRows % kApart == 0 || kApart % kRows == 0));

 public:
  __device__ TileFetcher(const HeadRows<const T>& from, int token)
      : own_(row(), number()),
        step_(ptx::kept(from.stride * (kRows / kCopies))),
        tokens_(from.tokens - token - row()),
        columns_(from.width - number() * Rows::kLength),
        source_(from.row(token + row()) + number() * Rows::kLength) {
    go_along(0);
#pragma unroll
    for (int i = 0; kFew && i < kCopies; ++i) offsets_[i] = ptx::kept(i * step_);
  }

  // Starts the copies; of another tensor of the same shape, so many elements away, too.
  __device__ void operator()(const Rows& to, int64_t away = 0) const {
    if (kApart > kRows && row() >= kRows) return;
    const T* source = source_ + away;
#pragma unroll
    for (int i = 0; i < kCopies; ++i)
      ptx::cp_async<kChunkBytes>(own_(to, i * kApart, 0), source + (kFew ? offsets_[i] : i * step_),
                                 i * kApart < tokens_ ? kChunkBytes : 0);
  }
  // Calls f(chunk) for all this thread has copied.
  template <typename F>
  __device__ void for_own(const Rows& to, const F& f) const {
    if (kApart > kRows && row() >= kRows) return;
#pragma unroll
    for (int i = 0; i < kRows; i += kApart) f(own_(to, i, 0));
  }
  __device__ void go_down() { tokens_ -= kRows, source_ += int64_t{step_} * kCopies; }  // to the next tile
  __device__ void go_along(int columns) {
    columns_ -= columns, source_ += columns;
    if (columns_ <= 0) tokens_ = 0;
  }

 private:
  __device__ static int row() { return threadIdx.x / Rows::kChunks; }
  __device__ static int number() { return threadIdx.x % Rows::kChunks; }

  OwnChunk<Rows> own_;
  int step_, offsets_[kFew ? kCopies : 1];  // elements from copy to copy, and from the first
  int tokens_, columns_;                    // what is left of both
  const T* source_;
};

// kRows tokens back to memory.
template <int kRows, int kThreads, typename Rows, typename T>
__device__ void store(const HeadRows<T>& to, const Rows& from, int token) {
#pragma unroll
  for (int i = threadIdx.x; i < kRows * Rows::kChunks; i += kThreads) {
    const int row = i / Rows::kChunks, first = i % Rows::kChunks * Rows::kLength;
    if (token + row < to.tokens && first < to.width)
      store_vector(to.row(token + row) + first, load_vector<uint4>(from.element(row, first)));
  }
}

}  // namespace stipple::cuda
