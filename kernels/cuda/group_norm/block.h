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

// Sums kNumbers numbers of each thread over the threads of its column, in a fixed order. They are left in `sums`
// [kNumbers][blockDim.x], at the thread of the first row.
template <int kNumbers>
__device__ inline void sum_columns(float* sums, float (&own)[kNumbers], const Tiling& t, int row) {
  const int threads = blockDim.x;
  float* mine = sums + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kNumbers; ++i) mine[i * threads] = own[i];
  __syncthreads();
  for (int left = t.rows; left > 1;) {
    const int half = (left + 1) / 2;
    if (row + half < left)
#pragma unroll
      for (int i = 0; i < kNumbers; ++i) mine[i * threads] = own[i] += mine[i * threads + half * t.columns];
    __syncthreads();
    left = half;
  }
}

// What sum_columns left of channel c of the slice; `number` counts vectors of channels.
template <int kVector>
__device__ inline float channel_sum(const float* sums, int c, int number = 0) {
  return sums[(number * kVector + c % kVector) * blockDim.x + c / kVector];
}

template <int kVector>
__device__ inline float group_sum(const float* sums, const Tiling& t, int group, int number = 0) {
  float sum = 0;
  for (int c = group * t.width; c < (group + 1) * t.width; ++c) sum += channel_sum<kVector>(sums, c, number);
  return sum;
}

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
__device__ inline void take_moments(const Moments& to, const Kept<T, kVector>& kept, float* sums,
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
  sum_columns(sums, sum, t, at.row);
  for_each_of_block(t.groups_of_slice(), [&](int g) { to.means[g] = each * group_sum<kVector>(sums, t, g); });
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
  sum_columns(sums, off, t, at.row);
  for_each_of_block(t.groups_of_slice(), [&](int g) {
    const float correction = group_sum<kVector>(sums, t, g);
    to.means[g] += each * correction;
    to.squares[g] = group_sum<kVector>(sums, t, g, 1) - correction * each * correction;
  });
}

// Floats that sum_columns and take_moments or the sums of the backward pass leave in shared memory, for two numbers a
// channel.
inline int floats_for_sums(const Tiling& t, int vector) { return 2 * vector * t.threads(); }

// gamma and beta of the slice, from coalesced loads.
struct Affine {
  float *gamma, *beta;
  __device__ Affine(Shared& shared, const Tiling& t, int first_channel, const float* __restrict__ gammas,
                    const float* __restrict__ betas)
      : gamma(shared.take<float>(t.slice)), beta(shared.take<float>(t.slice)) {
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
__device__ inline void set_normals(Normal (&to)[kVector], const Place<kVector>& at, const Affine& affine,
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
struct ChannelSums {
  float *dz, *dz_xn;
  __device__ ChannelSums(Shared& shared, const Tiling& t)
      : dz(shared.take<float>(t.slice)), dz_xn(shared.take<float>(t.slice)) {}

  // From what sum_columns left; also to image_sums [images, 2, channels] where that is not null.
  template <int kVector>
  __device__ void collect(const float* sums, float* __restrict__ image_sums, const Place<kVector>& at) const {
    const int64_t row = int64_t{2} * blockIdx.z * at.t.channels + at.first_channel();
    for_each_of_block(at.t.slice, [&](int c) {
      dz[c] = channel_sum<kVector>(sums, c);
      dz_xn[c] = channel_sum<kVector>(sums, c, 1);
      if (!image_sums) return;
      image_sums[row + c] = dz[c];
      image_sums[row + at.t.channels + c] = dz_xn[c];
    });
  }

  template <int kVector>
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

  __device__ Pulls(Shared& shared, const Tiling& t, const ChannelSums& sums, const float* gamma)
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
