#include <optional>

#include "kernels/cuda/group_norm/block.h"
#include "kernels/cuda/group_norm/parameter_gradients.h"
#include "kernels/cuda/group_norm/rungs.h"

// group_norm, rung one_pass: a block keeps all pixels of a slice of whole groups in shared memory.
//
// Idea    statistics, map and gradients then need x (and dy) from device memory only once. Slices are whole sectors
//         wide, so that nothing is fetched for a block which another needs; as wide as fits and still gives every
//         multiprocessor work. A thread finds in shared memory what it put there itself, 16 bytes in a row of its warp:
//         no conflicts, no barrier.
// Costs   forward x read and y written once; backward dy and x read and dx written once. Gradients of weight and bias:
//         8 bytes a channel of an image besides.
// Reaches every sector once, in loads and stores as few as can be; 1.00 of compulsory DRAM traffic behind a modelled L2
//         (32x32x128 and 16x16x256, f32 and bf16, `stipple profile`). No spills; 256 threads of up to 122 registers
//         leave a multiprocessor room for two blocks, one of which reads while the other writes.
// Tried   512 threads: one block, and 39 us where a copy takes 8 (64x32x32x128 bf16, H200).
//         Keeping dz instead of dy would save the second exponential, but not in bf16, which would round it.

namespace stipple::cuda::one_pass {
namespace {

constexpr int kMostThreads = 256;
constexpr int kFill = 128;              // blocks that keep a GPU busy
constexpr int kComfortable = 64 << 10;  // bytes kept by a block that leave a multiprocessor room for another
constexpr int kSmall = 16 << 10;        // elements few enough for a block among idle ones

size_t kept_bytes(const Concat<Tensor>& x, const Tiling& t, int tensors) {
  return size_t{1} * tensors * t.turns() * t.threads() * vector_of(x) * size_of(x.a.dtype());
}

// Everything a block keeps, sums, and has of groups and channels.
size_t shared_bytes(const Concat<Tensor>& x, const Tiling& t, int tensors) {
  return kept_bytes(x, t, tensors) + bytes_of_numbers(t, vector_of(x));
}

Tiling sliced(const Concat<Tensor>& x, const Tiling& whole, int slice) {
  Tiling t = whole;
  t.slice = slice;
  t.columns = slice / vector_of(x);
  t.rows = std::clamp((t.pixels + kAhead - 1) / kAhead, 1, std::max(1, kMostThreads / t.columns));
  return t;
}

// The widest slice that fits well, else the widest that is narrower and fits at all; `tensors` are kept.
std::optional<Tiling> tiling(const Concat<Tensor>& x, const GroupNormOptions& o, int tensors) {
  const Tiling t = whole(x, o.groups);
  const int narrowest = narrowest_slice(x, t), most = t.channels / narrowest;
  std::optional<Tiling> found;
  for (int slices = 1; slices <= most; ++slices) {
    if (most % slices != 0) continue;
    const Tiling cut = sliced(x, t, t.channels / slices);
    if (cut.columns > kMostThreads || shared_bytes(x, cut, tensors) > most_shared_bytes()) continue;
    found = cut;
    if (kept_bytes(x, cut, tensors) <= kComfortable && slices * t.images >= kFill) break;
  }
  return found;
}

bool worth_it(const std::optional<Tiling>& t) {
  return t && (t->images * t->slices() >= kFill / 2 || t->pixels * t->slice <= kSmall);
}

template <typename T, int kVector>
__global__ __launch_bounds__(kMostThreads, 2) void group_norm_one_pass_kernel(
    T* __restrict__ y, float* __restrict__ means, float* __restrict__ rstds, Joined<const T> x,
    const float* __restrict__ gamma, const float* __restrict__ beta, Tiling t, float eps, bool silu) {
  const Place<kVector> at{t};
  Shared shared;
  const Kept<T, kVector> kept(shared, t.turns());
  const ColumnSums<kVector> sums(shared);
  const Affine<kVector> affine(shared, t, at.first_channel(), gamma, beta);
  const Moments moments(shared, t.groups_of_slice());
  take_moments(moments, kept, sums, at, x);
  float* const rstd = moments.squares;
  for_each_of_block(t.groups_of_slice(), [&](int g) {
    rstd[g] = 1 / sqrtf(moments.squares[g] / (static_cast<float>(t.pixels) * t.width) + eps);
    means[at.first_group() + g] = moments.means[g];
    rstds[at.first_group() + g] = rstd[g];
  });
  Normal normals[kVector];
  set_normals(normals, at, affine, moments.means, rstd);
  for (int turn = 0; turn < at.turns(); ++turn) {
    float values[kVector];
    kept.get(values, turn);
    write_output(y + at.offset(turn), values, normals, silu);
  }
}

template <typename T, int kVector>
__global__ __launch_bounds__(kMostThreads, 2) void group_norm_one_pass_backward_kernel(
    Joined<T> dx, float* __restrict__ image_sums, const T* __restrict__ dy, Joined<const T> x,
    const float* __restrict__ gamma, const float* __restrict__ beta, const float* __restrict__ means,
    const float* __restrict__ rstds, Tiling t, bool silu) {
  const Place<kVector> at{t};
  Shared shared;
  const Kept<T, kVector> kept_dy(shared, t.turns()), kept_x(shared, t.turns());
  const ColumnSums<kVector> sums(shared);
  const Affine<kVector> affine(shared, t, at.first_channel(), gamma, beta);
  const Statistics statistics(shared, at, means, rstds);
  Normal normals[kVector];
  set_normals(normals, at, affine, statistics.means, statistics.rstds);
  float own[2 * kVector] = {}, gradient[kVector], values[kVector];
  read_both(at, dy, x, [&](int turn, const auto& raw_dy, const auto& raw_x) {
    kept_dy.set(turn, raw_dy);
    kept_x.set(turn, raw_x);
    unpack<T>(gradient, raw_dy);
    unpack<T>(values, raw_x);
    add_gradients(own, gradient, values, normals, silu);
  });
  sums.sum(own, t, at.row);
  const ChannelSums<kVector> channels(shared, t);
  channels.collect(sums, image_sums, at);
  const Pulls pulls(shared, t, channels, affine.gamma);
  const auto to = dx.column(at.channel());
  if (!to.first) return;
  for (int turn = 0; turn < at.turns(); ++turn) {
    kept_dy.get(gradient, turn);
    kept_x.get(values, turn);
    write_gradient(to(at.pixel(turn)), at, gradient, values, normals, pulls, silu);
  }
}

}  // namespace

bool fits(const Concat<Tensor>& x, const GroupNormOptions& o) { return worth_it(tiling(x, o, 1)); }
bool fits_well(const Concat<Tensor>& x, const GroupNormOptions& o) {
  const auto t = tiling(x, o, 1);
  return worth_it(t) && kept_bytes(x, *t, 1) <= kComfortable;
}
bool backward_fits(const Concat<Tensor>& x, const GroupNormOptions& o) { return worth_it(tiling(x, o, 2)); }

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  const Tiling t = tiling(x, o, 1).value();
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_one_pass_kernel<T, kVector>, t.blocks(), t.threads(), shared_bytes(x, t, 1),
           mutable_data<T>(out.y), mutable_data<float>(out.mean), mutable_data<float>(out.rstd), joined<T>(x),
           data<float>(gamma), data<float>(beta), t, static_cast<float>(o.eps), o.silu);
  });
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Tiling t = tiling(x, o, 2).value();
  const Tensor image_sums = sums_of_images(to, x);
  for_vectors(x, [&]<typename T, int kVector>(T, std::integral_constant<int, kVector>) {
    launch(group_norm_one_pass_backward_kernel<T, kVector>, t.blocks(), t.threads(), shared_bytes(x, t, 2),
           joined<T>(to.dx, x), mutable_data<float>(image_sums), data<T>(dy), joined<T>(x), data<float>(gamma),
           data<float>(beta), data<float>(mean), data<float>(rstd), t, o.silu);
  });
  if (image_sums) add_images(to, image_sums);
}

}  // namespace stipple::cuda::one_pass
