#pragma once
#include <algorithm>
#include <numeric>

#include "kernels/cuda/channels.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/launch.h"

// x [images, pixels, channels] as blocks see it: the channels are cut into slices of whole groups, the pixels of an
// image into chunks. A block takes one chunk of one slice. Its threads stand in rows of `columns`, each before its
// kVector channels, `rows` pixels of a chunk at once, and go down the chunk together: turn after turn.

namespace stipple::cuda {

struct Tiling {
  int images, pixels, channels, groups;
  int width;          // channels of a group
  int slice, chunk;   // channels, pixels
  int columns, rows;  // of threads

  int slices() const { return channels / slice; }
  int chunks() const { return (pixels + chunk - 1) / chunk; }
  __host__ __device__ int turns() const { return (chunk + rows - 1) / rows; }
  int threads() const { return (columns * rows + 31) / 32 * 32; }
  dim3 blocks() const {
    return dim3(static_cast<unsigned>(chunks()), static_cast<unsigned>(slices()), static_cast<unsigned>(images));
  }
  __host__ __device__ int groups_of_slice() const { return slice / width; }
};

// The whole of x as one chunk and one slice, no threads yet.
inline Tiling whole(const Concat<Tensor>& x, int64_t groups) {
  const int images = static_cast<int>(x.a.dim(0)), channels = static_cast<int>(x.channels());
  const int pixels = static_cast<int>(concat_shape(x).numel() / images / channels), count = static_cast<int>(groups);
  return {images, pixels, channels, count, channels / count, channels, pixels, 0, 0};
}

// The narrowest slice: whole groups, and whole sectors of 32 bytes where a pixel has such.
inline int narrowest_slice(const Concat<Tensor>& x, const Tiling& t) {
  const int sector = 32 / static_cast<int>(size_of(x.a.dtype()));
  return std::lcm(t.width, std::gcd(sector, t.channels));
}

// Channels a thread takes at once.
inline int vector_of(const Concat<Tensor>& x) {
  const int vector = 16 / static_cast<int>(size_of(x.a.dtype()));
  return x.a.dim(-1) % vector == 0 && x.b_channels() % vector == 0 ? vector : 1;
}

// Calls f with the element type and the number of channels a thread takes at once, as types.
template <typename F>
void for_vectors(const Concat<Tensor>& x, F&& f) {
  for_floating("group_norm", x.a.dtype(), [&]<typename T>(T zero) {
    if (vector_of(x) == 1) return f(zero, std::integral_constant<int, 1>());
    f(zero, std::integral_constant<int, kChannelsOfVector<T>>());
  });
}

// Where a thread stands.
template <int kVector>
struct Place {
  const Tiling& t;
  int column = static_cast<int>(threadIdx.x) % t.columns, row = static_cast<int>(threadIdx.x) / t.columns;
  int first = static_cast<int>(blockIdx.x) * t.chunk;

  __device__ int chunk_pixels() const { return min(t.chunk, t.pixels - first); }
  // How often this thread's row falls on a pixel; never for those beyond the last row.
  __device__ int turns() const { return row < t.rows ? (chunk_pixels() - row + t.rows - 1) / t.rows : 0; }
  __device__ int first_channel() const { return static_cast<int>(blockIdx.y) * t.slice; }
  __device__ int first_group() const { return static_cast<int>(blockIdx.z) * t.groups + first_channel() / t.width; }
  __device__ int group(int i) const { return (column * kVector + i) / t.width; }  // of its i-th channel, in the slice
  __device__ int channel() const { return first_channel() + column * kVector; }
  __device__ int64_t pixel(int turn) const { return int64_t{blockIdx.z} * t.pixels + first + row + turn * t.rows; }
  __device__ int64_t offset(int turn) const { return pixel(turn) * t.channels + channel(); }  // in y and dy
};

inline constexpr int kAhead = 4;  // loads under way in a thread

// Calls use(turn, x's channels there) for each turn of the thread; the loads of kAhead turns go out together.
template <typename T, int kVector, typename Use>
__device__ inline void read(const Place<kVector>& at, const Joined<const T>& x, Use&& use) {
  const int turns = at.turns();
  const auto column = x.column(at.channel());
  for (int begin = 0; begin < turns; begin += kAhead) {
    RawChannels<T, kVector> raw[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      if (begin + i < turns) raw[i] = load_vector<RawChannels<T, kVector>>(column(at.pixel(begin + i)));
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      if (begin + i < turns) use(begin + i, raw[i]);
  }
}

// Likewise dy and x: use(turn, dy's channels, x's).
template <typename T, int kVector, typename Use>
__device__ inline void read_both(const Place<kVector>& at, const T* __restrict__ dy, const Joined<const T>& x,
                                 Use&& use) {
  using Raw = RawChannels<T, kVector>;
  const int turns = at.turns();
  const auto column = x.column(at.channel());
  for (int begin = 0; begin < turns; begin += kAhead / 2) {
    Raw raw_dy[kAhead / 2], raw_x[kAhead / 2];
#pragma unroll
    for (int i = 0; i < kAhead / 2; ++i)
      if (begin + i < turns) {
        raw_dy[i] = load_vector<Raw>(dy + at.offset(begin + i));
        raw_x[i] = load_vector<Raw>(column(at.pixel(begin + i)));
      }
#pragma unroll
    for (int i = 0; i < kAhead / 2; ++i)
      if (begin + i < turns) use(begin + i, raw_dy[i], raw_x[i]);
  }
}

}  // namespace stipple::cuda
