#include "kernels/cuda/group_norm/block.h"
#include "kernels/cuda/group_norm/parameter_gradients.h"
#include "kernels/cuda/group_norm/rungs.h"

// group_norm, rung two_pass: a picture is cut into chunks of pixels, whatever its size.
//
// Idea    a block reads its chunk with all channels, 16 bytes a thread, and leaves the groups' means and squares about
//         them; those of a picture's chunks are joined as Chan, Golub & LeVeque 1979 ("Updating Formulae", eq. 2.1) do;
//         then blocks of the same shape map their chunks. Backward likewise with sums over pixels for each channel,
//         which are the gradients of weight and bias, and make those of the groups.
// Costs   forward x read twice and y written; backward dy and x read twice and dx written; the second time from L2
//         where the batch fits it. What chunks leave is 8 bytes a group forward, 8 a channel backward.
// Reaches loads and stores of as few sectors as can be, 1.00 of compulsory DRAM traffic a kernel behind a modelled L2
//         (64x64x128, 32x32x128, 28x28x224, 16x16x256, f32 and bf16, `stipple profile`). No bank of shared memory twice
//         (64x64x128; 1.05 at 256 channels of f32, whose groups are two vectors wide, 1.2 at 224). No spills.
// Tried   launch bounds without "1 block": ptxas spills 4 to 16 bytes in three kernels. gamma and beta straight from
//         device memory would be strided by the channels of a thread; through shared memory they are whole sectors.
//         There, side by side, they were strided likewise: 1.5 to 2.4 wavefronts for one, until they lay as `Channels`
//         has them.

namespace stipple::cuda::two_pass {
namespace {

constexpr int kMostColumns = 256;

// A chunk is what a block's threads read at 128 bytes each (up to 32 KB), or half of that where pictures are few.
Tiling tiling(const Concat<Tensor>& x, const GroupNormOptions& o) {
  Tiling t = whole(x, o.groups);
  const int narrowest = narrowest_slice(x, t), most = t.channels / narrowest;
  for (int slices = 1; slices <= most; ++slices) {
    t.slice = t.channels / slices;
    if (most % slices == 0 && t.slice / vector_of(x) <= kMostColumns) break;
  }
  t.columns = t.slice / vector_of(x);
  t.rows = std::clamp(kMostColumns / t.columns, 1, t.pixels);
  constexpr size_t kMany = 8 << 20;
  const int bytes = x.a.nbytes() + (x.b.defined() ? x.b.nbytes() : 0) < kMany ? 64 : 128;
  t.chunk = std::min(t.pixels, t.rows * bytes / (vector_of(x) * static_cast<int>(size_of(x.a.dtype()))));
  return t;
}

template <typename T, int kVector>
__global__ __launch_bounds__(kMostColumns, 1) void group_norm_moments_kernel(float* __restrict__ chunk_means,
                                                                             float* __restrict__ chunk_squares,
                                                                             Joined<const T> x, Tiling t) {
  const Place<kVector> at{t};
  Shared shared;
  const Kept<T, kVector> kept(shared, t.turns());
  const ColumnSums<kVector> sums(shared);
  const Moments moments(shared, t.groups_of_slice());
  take_moments(moments, kept, sums, at, x);
  const int64_t chunk = int64_t{blockIdx.z} * gridDim.x + blockIdx.x,
                to = chunk * t.groups + at.first_channel() / t.width;
  for_each_of_block(t.groups_of_slice(), [&](int g) {
    chunk_means[to + g] = moments.means[g];
    chunk_squares[to + g] = moments.squares[g];
  });
}

constexpr int kWarps = 16;

// Block (32 columns, image) of kWarps warps: f(row) summed over rows in a fixed order, for the column of each lane.
template <typename F>
__device__ float sum_rows(int rows, F&& f) {
  struct Sums {
    float of[kWarps][32];
  };
  auto& sums = static_shared<Sums>();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float sum = 0;
  for (int row = warp; row < rows; row += kWarps) sum += f(row);
  sums.of[warp][lane] = sum;
  __syncthreads();
  float total = 0;
  for (int w = 0; w < kWarps; ++w) total += sums.of[w][lane];
  __syncthreads();
  return total;
}

// Means and squares of the chunks of an image, joined. Lanes are groups.
__global__ void join_moments_kernel(float* __restrict__ means, float* __restrict__ rstds,
                                    const float* __restrict__ chunk_means, const float* __restrict__ chunk_squares,
                                    Tiling t, int chunks, float eps) {
  const int group = blockIdx.x * 32 + threadIdx.x % 32, image = blockIdx.y;
  const bool exists = group < t.groups;
  const auto index = [&](int chunk) { return (int64_t{image} * chunks + chunk) * t.groups + group; };
  const auto part = [&](int chunk) {
    return static_cast<float>(min(t.chunk, t.pixels - chunk * t.chunk)) / static_cast<float>(t.pixels);
  };
  const float mean = sum_rows(chunks, [&](int c) { return exists ? part(c) * chunk_means[index(c)] : 0; });
  const float each = 1.f / (static_cast<float>(t.pixels) * t.width);
  const float variance = sum_rows(chunks, [&](int c) {
    if (!exists) return 0.f;
    const float d = chunk_means[index(c)] - mean;
    return each * chunk_squares[index(c)] + part(c) * d * d;
  });
  if (!exists || threadIdx.x >= 32) return;
  means[image * t.groups + group] = mean;
  rstds[image * t.groups + group] = 1 / sqrtf(variance + eps);
}

template <typename T, int kVector>
__global__ __launch_bounds__(kMostColumns, 1) void group_norm_map_kernel(
    T* __restrict__ y, Joined<const T> x, const float* __restrict__ gamma, const float* __restrict__ beta,
    const float* __restrict__ means, const float* __restrict__ rstds, Tiling t, bool silu) {
  const Place<kVector> at{t};
  Shared shared;
  const Affine<kVector> affine(shared, t, at.first_channel(), gamma, beta);
  const Statistics statistics(shared, at, means, rstds);
  Normal normals[kVector];
  set_normals(normals, at, affine, statistics.means, statistics.rstds);
  read(at, x, [&](int turn, const RawChannels<T, kVector>& raw) {
    float values[kVector];
    unpack<T>(values, raw);
    write_output(y + at.offset(turn), values, normals, silu);
  });
}

// sum dz and sum dz xn of the channels of a chunk: chunk_sums [images, chunks, 2, channels].
template <typename T, int kVector>
__global__ __launch_bounds__(kMostColumns,
                             1) void group_norm_sums_kernel(float* __restrict__ chunk_sums, const T* __restrict__ dy,
                                                            Joined<const T> x, const float* __restrict__ gamma,
                                                            const float* __restrict__ beta,
                                                            const float* __restrict__ means,
                                                            const float* __restrict__ rstds, Tiling t, bool silu) {
  const Place<kVector> at{t};
  Shared shared;
  const ColumnSums<kVector> sums(shared);
  const Affine<kVector> affine(shared, t, at.first_channel(), gamma, beta);
  const Statistics statistics(shared, at, means, rstds);
  Normal normals[kVector];
  set_normals(normals, at, affine, statistics.means, statistics.rstds);
  float own[2 * kVector] = {}, gradient[kVector], values[kVector];
  read_both(at, dy, x, [&](int, const auto& raw_dy, const auto& raw_x) {
    unpack<T>(gradient, raw_dy);
    unpack<T>(values, raw_x);
    add_gradients(own, gradient, values, normals, silu);
  });
  sums.sum(own, t, at.row);
  float* const to = chunk_sums + 2 * (int64_t{blockIdx.z} * gridDim.x + blockIdx.x) * t.channels + at.first_channel();
  for_each_of_block(t.slice, [&](int c) {
    to[c] = sums.of_channel(c);
    to[t.channels + c] = sums.of_channel(c, 1);
  });
}

// image_sums [images, numbers]: chunk_sums [images, chunks, numbers] added up. Lanes are numbers.
__global__ void join_sums_kernel(float* __restrict__ image_sums, const float* __restrict__ chunk_sums, int chunks,
                                 int numbers) {
  const int number = blockIdx.x * 32 + threadIdx.x % 32;
  const int64_t image = blockIdx.y;
  const float sum = sum_rows(
      chunks, [&](int c) { return number < numbers ? chunk_sums[(image * chunks + c) * numbers + number] : 0; });
  if (number < numbers && threadIdx.x < 32) image_sums[image * numbers + number] = sum;
}

template <typename T, int kVector>
__global__ __launch_bounds__(kMostColumns, 1) void group_norm_map_backward_kernel(
    Joined<T> dx, const float* __restrict__ image_sums, const T* __restrict__ dy, Joined<const T> x,
    const float* __restrict__ gamma, const float* __restrict__ beta, const float* __restrict__ means,
    const float* __restrict__ rstds, Tiling t, bool silu) {
  const Place<kVector> at{t};
  Shared shared;
  const Affine<kVector> affine(shared, t, at.first_channel(), gamma, beta);
  const Statistics statistics(shared, at, means, rstds);
  const ChannelSums<kVector> channels(shared, t);
  channels.load(image_sums, at);
  const Pulls pulls(shared, t, channels, affine.gamma);
  Normal normals[kVector];
  set_normals(normals, at, affine, statistics.means, statistics.rstds);
  const auto to = dx.column(at.channel());
  if (!to.first) return;
  float gradient[kVector], values[kVector];
  read_both(at, dy, x, [&](int turn, const auto& raw_dy, const auto& raw_x) {
    unpack<T>(gradient, raw_dy);
    unpack<T>(values, raw_x);
    write_gradient(to(at.pixel(turn)), at, gradient, values, normals, pulls, silu);
  });
}

// Of kernels that keep nothing: sums, and what is known of channels and groups.
size_t shared_bytes(const Concat<Tensor>& x, const Tiling& t) { return bytes_of_numbers(t, vector_of(x)); }

size_t kept_bytes(const Concat<Tensor>& x, const Tiling& t) {
  return size_t{1} * t.turns() * t.threads() * vector_of(x) * size_of(x.a.dtype());
}

dim3 columns_and_images(int columns, const Tiling& t) {
  return dim3(static_cast<unsigned>((columns + 31) / 32), static_cast<unsigned>(t.images));
}

// [images, 2, channels]
Tensor sums_of_pixels(const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                      const Tensor& mean, const Tensor& rstd, const Tiling& t, bool silu) {
  const Tensor chunk_sums({t.images, t.chunks(), 2, t.channels}, Dtype::f32, x.a.device());
  const Tensor image_sums({t.images, 2, t.channels}, Dtype::f32, x.a.device());
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_sums_kernel<T, kVector>, t.blocks(), t.threads(), shared_bytes(x, t),
           mutable_data<float>(chunk_sums), data<T>(dy), joined<T>(x), data<float>(gamma), data<float>(beta),
           data<float>(mean), data<float>(rstd), t, silu);
  });
  launch(join_sums_kernel, columns_and_images(2 * t.channels, t), 32 * kWarps, 0, mutable_data<float>(image_sums),
         data<float>(chunk_sums), t.chunks(), 2 * t.channels);
  return image_sums;
}

void statistics(GroupNormOut& out, const Concat<Tensor>& x, const Tiling& t, double eps) {
  const Tensor means({t.images, t.chunks(), t.groups}, Dtype::f32, x.a.device()), squares = empty_like(means);
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_moments_kernel<T, kVector>, t.blocks(), t.threads(), kept_bytes(x, t) + shared_bytes(x, t),
           mutable_data<float>(means), mutable_data<float>(squares), joined<T>(x), t);
  });
  launch(join_moments_kernel, columns_and_images(t.groups, t), 32 * kWarps, 0, mutable_data<float>(out.mean),
         mutable_data<float>(out.rstd), data<float>(means), data<float>(squares), t, t.chunks(),
         static_cast<float>(eps));
}

}  // namespace

bool fits(const Concat<Tensor>& x, const GroupNormOptions& o) { return tiling(x, o).columns <= kMostColumns; }

void map(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
         const GroupNormOptions& o) {
  const Tiling t = tiling(x, o);
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_map_kernel<T, kVector>, t.blocks(), t.threads(), shared_bytes(x, t), mutable_data<T>(out.y),
           joined<T>(x), data<float>(gamma), data<float>(beta), data<float>(out.mean), data<float>(out.rstd), t,
           o.silu);
  });
}

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  statistics(out, x, tiling(x, o), o.eps);
  map(out, x, gamma, beta, o);
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Tiling t = tiling(x, o);
  const Tensor image_sums = sums_of_pixels(dy, x, gamma, beta, mean, rstd, t, o.silu);
  if (to.dgamma.wanted() || to.dbeta.wanted()) add_images(to, image_sums);
  if (!to.dx.a && !to.dx.b) return;
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_map_backward_kernel<T, kVector>, t.blocks(), t.threads(), shared_bytes(x, t), joined<T>(to.dx, x),
           data<float>(image_sums), data<T>(dy), joined<T>(x), data<float>(gamma), data<float>(beta), data<float>(mean),
           data<float>(rstd), t, o.silu);
  });
}

}  // namespace stipple::cuda::two_pass
