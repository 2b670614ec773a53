#pragma once
#include "kernels/cuda/group_norm/formula.h"
#include "kernels/cuda/group_norm/tiling.h"
#include "kernels/cuda/shared_memory.h"

// What the threads of a block do together: sums over the block's pixels, statistics of its groups, and the numbers each
// channel is multiplied by. All of it in dynamic shared memory, which `Shared` hands out.

namespace stipple::cuda {

struct Shared {
  std::byte* next = dynamic_shared<std::byte>();

  template <typename V>
  __device__ V* take(int count) {
    auto* taken = reinterpret_cast<V*>(next);
    next += count * sizeof(V);
    return taken;
  }
};

// Numbers of channels, of which a thread has kVector: channel c is the (c % kVector)-th of thread c / kVector. So far
// apart lie the i-th channels of all threads and the next ones that no bank is met twice, neither by a warp that takes
// each lane's i-th nor by one that takes channels side by side.
__host__ __device__ constexpr int apart(int threads, int vector) { return (threads + 31) / 32 * 32 + 32 / vector; }

template <int kVector>
struct Channels {
  float* of;
  int step;

  __device__ Channels(Shared& shared, int threads, int numbers = 1)
      : of(shared.take<float>(numbers * kVector * apart(threads, kVector))), step(apart(threads, kVector)) {}
  __device__ int place(int c) const { return c % kVector * step + c / kVector; }
  __device__ float& operator[](int c) const { return of[place(c)]; }
};

// Sums of one or two numbers of each channel over the rows of threads, in a fixed order.
template <int kVector>
struct ColumnSums {
  Channels<kVector> all;  // of each thread, in the end those of the first row count

  explicit __device__ ColumnSums(Shared& shared) : all(shared, blockDim.x, 2) {}

  template <int kNumbers>
  __device__ void sum(float (&own)[kNumbers], const Tiling& t, int row) const {
    float* mine = all.of + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) mine[i * all.step] = own[i];
    __syncthreads();
    for (int left = t.rows; left > 1;) {
      const int half = (left + 1) / 2;
      if (row + half < left)
#pragma unroll
        for (int i = 0; i < kNumbers; ++i) mine[i * all.step] = own[i] += mine[i * all.step + half * t.columns];
      __syncthreads();
      left = half;
    }
  }

  __device__ float of_channel(int c, int number = 0) const {
    return all.of[number * kVector * all.step + all.place(c)];
  }
  __device__ float of_group(const Tiling& t, int group, int number = 0) const {
    float sum = 0;
    for (int c = group * t.width; c < (group + 1) * t.width; ++c) sum += of_channel(c, number);
    return sum;
  }
};

// Calls f(i) for i in [0, n), shared out among the threads; the block meets afterwards.
template <typename F>
__device__ inline void for_each_of_block(int n, F&& f) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) f(i);
  __syncthreads();
}

// What a thread has read of the chunk, one entry a turn.
template <typename T, int kVector>
struct Kept {
  RawChannels<T, kVector>* of_block;
  __device__ Kept(Shared& shared, int turns)
      : of_block(shared.take<RawChannels<T, kVector>>(turns * static_cast<int>(blockDim.x))) {}

  __device__ void set(int turn, const RawChannels<T, kVector>& raw) const {
    store_vector(of_block + turn * blockDim.x + threadIdx.x, raw);
  }
  __device__ void get(float (&to)[kVector], int turn) const {
    unpack<T>(to, load_vector<RawChannels<T, kVector>>(of_block + turn * blockDim.x + threadIdx.x));
  }
};

// Of the groups of a block's chunk: their means, and sums of squares about these.
struct Moments {
  float *means, *squares;
  __device__ Moments(Shared& shared, int groups)
      : means(shared.take<float>(groups)), squares(shared.take<float>(groups)) {}
};

// Reads the chunk, keeps it and takes its moments, in shared memory the second time: the corrected two-pass algorithm,
// whose first mean may be inexact (Chan, Golub & LeVeque 1983, The American Statistician 37, eq. 1.7).
template <typename T, int kVector>
__device__ inline void take_moments(const Moments& to, const Kept<T, kVector>& kept, const ColumnSums<kVector>& sums,
                                    const Place<kVector>& at, const Joined<const T>& x) {
  const Tiling& t = at.t;
  const float each = 1.f / (static_cast<float>(at.chunk_pixels()) * t.width);
  float sum[kVector] = {}, values[kVector], off[2 * kVector] = {}, mean[kVector];
  read(at, x, [&](int turn, const RawChannels<T, kVector>& raw) {
    kept.set(turn, raw);
    unpack<T>(values, raw);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += values[i];
  });
  sums.sum(sum, t, at.row);
  for_each_of_block(t.groups_of_slice(), [&](int g) { to.means[g] = each * sums.of_group(t, g); });
#pragma unroll
  for (int i = 0; i < kVector; ++i) mean[i] = to.means[at.group(i)];
  for (int turn = 0; turn < at.turns(); ++turn) {
    kept.get(values, turn);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float d = values[i] - mean[i];
      off[i] += d;
      off[kVector + i] += d * d;
    }
  }
  sums.sum(off, t, at.row);
  for_each_of_block(t.groups_of_slice(), [&](int g) {
    const float correction = sums.of_group(t, g);
    to.means[g] += each * correction;
    to.squares[g] = sums.of_group(t, g, 1) - correction * each * correction;
  });
}

// Shared memory for all that is not kept: two sums a thread, four numbers a channel, four a group.
inline size_t bytes_of_numbers(const Tiling& t, int vector) {
  const int of_channels = vector * (2 * apart(t.threads(), vector) + 4 * apart(t.columns, vector));
  return sizeof(float) * (of_channels + 4 * t.groups_of_slice());
}

// gamma and beta of the slice, from coalesced loads.
template <int kVector>
struct Affine {
  Channels<kVector> gamma, beta;
  __device__ Affine(Shared& shared, const Tiling& t, int first_channel, const float* __restrict__ gammas,
                    const float* __restrict__ betas)
      : gamma(shared, t.columns), beta(shared, t.columns) {
    for_each_of_block(t.slice, [&](int c) {
      gamma[c] = gammas[first_channel + c];
      beta[c] = betas[first_channel + c];
    });
  }
};

// Means and rstds of the slice's groups, as the forward pass left them.
struct Statistics {
  float *means, *rstds;
  template <int kVector>
  __device__ Statistics(Shared& shared, const Place<kVector>& at, const float* __restrict__ of_mean,
                        const float* __restrict__ of_rstd)
      : means(shared.take<float>(at.t.groups_of_slice())), rstds(shared.take<float>(at.t.groups_of_slice())) {
    for_each_of_block(at.t.groups_of_slice(), [&](int g) {
      means[g] = of_mean[at.first_group() + g];
      rstds[g] = of_rstd[at.first_group() + g];
    });
  }
};

// What becomes of the thread's channels; means and rstds are the slice's.
template <int kVector>
__device__ inline void set_normals(Normal (&to)[kVector], const Place<kVector>& at, const Affine<kVector>& affine,
                                   const float* means, const float* rstds) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const int c = at.column * kVector + i, g = at.group(i);
    to[i] = at.row < at.t.rows ? Normal{means[g], rstds[g], affine.gamma[c], affine.beta[c]} : Normal{};
  }
}

template <typename T, int kVector>
__device__ inline void write_output(T* __restrict__ to, const float (&x)[kVector], const Normal (&normals)[kVector],
                                    bool silu) {
  float values[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) values[i] = normals[i].output(x[i], silu);
  store_vector(to, packed<T>(values));
}

// A pixel's part of sum dz and sum dz xn.
template <int kVector>
__device__ inline void add_gradients(float (&sums)[2 * kVector], const float (&dy)[kVector], const float (&x)[kVector],
                                     const Normal (&normals)[kVector], bool silu) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float xn = normals[i].normalised(x[i]), dz = normals[i].through_silu(dy[i], xn, silu);
    sums[i] += dz;
    sums[kVector + i] += dz * xn;
  }
}

// sum dz and sum dz xn of the slice's channels over the pixels of an image.
template <int kVector>
struct ChannelSums {
  Channels<kVector> dz, dz_xn;
  __device__ ChannelSums(Shared& shared, const Tiling& t) : dz(shared, t.columns), dz_xn(shared, t.columns) {}

  // From the sums of columns; also to image_sums [images, 2, channels] where that is not null.
  __device__ void collect(const ColumnSums<kVector>& sums, float* __restrict__ image_sums,
                          const Place<kVector>& at) const {
    const int64_t row = int64_t{2} * blockIdx.z * at.t.channels + at.first_channel();
    for_each_of_block(at.t.slice, [&](int c) {
      dz[c] = sums.of_channel(c);
      dz_xn[c] = sums.of_channel(c, 1);
      if (!image_sums) return;
      image_sums[row + c] = dz[c];
      image_sums[row + at.t.channels + c] = dz_xn[c];
    });
  }

  __device__ void load(const float* __restrict__ image_sums, const Place<kVector>& at) const {
    const int64_t row = int64_t{2} * blockIdx.z * at.t.channels + at.first_channel();
    for_each_of_block(at.t.slice, [&](int c) {
      dz[c] = image_sums[row + c];
      dz_xn[c] = image_sums[row + at.t.channels + c];
    });
  }
};

// 1/m sum g and 1/m sum g xn of the slice's groups.
struct Pulls {
  float *constant, *slope;

  template <int kVector>
  __device__ Pulls(Shared& shared, const Tiling& t, const ChannelSums<kVector>& sums, const Channels<kVector>& gamma)
      : constant(shared.take<float>(t.groups_of_slice())), slope(shared.take<float>(t.groups_of_slice())) {
    const float each = 1.f / (static_cast<float>(t.pixels) * t.width);
    for_each_of_block(t.groups_of_slice(), [&](int g) {
      float sum = 0, sum_xn = 0;
      for (int c = g * t.width; c < (g + 1) * t.width; ++c) {
        sum += gamma[c] * sums.dz[c];
        sum_xn += gamma[c] * sums.dz_xn[c];
      }
      constant[g] = each * sum;
      slope[g] = each * sum_xn;
    });
  }
};

template <typename T, int kVector>
__device__ inline void write_gradient(T* __restrict__ to, const Place<kVector>& at, const float (&dy)[kVector],
                                      const float (&x)[kVector], const Normal (&normals)[kVector], const Pulls& pulls,
                                      bool silu) {
  float values[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const Normal& n = normals[i];
    const int g = at.group(i);
    const float xn = n.normalised(x[i]);
    values[i] = n.rstd * (n.gamma * n.through_silu(dy[i], xn, silu) - pulls.constant[g] - xn * pulls.slope[g]);
  }
  store_vector(to, packed<T>(values));
}

}  // namespace stipple::cuda
