#include "kernels/cuda/group_norm/formula.h"
#include "kernels/cuda/group_norm/rungs.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"

// group_norm, rung naive: one block a group of an image; a thread takes every 256th element of the group.
//
// Idea    the formulas of group_norm.h in their order, two-pass: mean, then squares of x - mean, then the map.
// Costs   forward x read three times, y written once; backward dy and x read twice, and once more for dgamma, dbeta.
// Reaches 4.3 (f32) and 8.5 (bf16) times the compulsory traffic forward, 8 and 17 times for dgamma and dbeta.
// Tried   nothing: this is what faster rungs are measured against. At C/G = 4 channels a row of a group is 16 bytes:
//         half of every 32-byte sector that is fetched belongs to another block.

namespace stipple::cuda::naive {
namespace {

struct Extents {
  int64_t pixels, channels, groups, width;  // width: channels of a group

  Extents(const Concat<Tensor>& x, int64_t group_count)
      : pixels(concat_shape(x).numel() / (x.a.dim(0) * x.channels())),
        channels(x.channels()),
        groups(group_count),
        width(channels / groups) {}
  __device__ int64_t group_size() const { return pixels * width; }
};

// One group of one image, as a block sees it: block (group, image).
struct Group {
  const Extents& e;
  __device__ int64_t index() const { return blockIdx.y * e.groups + blockIdx.x; }
  __device__ int64_t channel(int64_t i) const { return blockIdx.x * e.width + i % e.width; }
  __device__ int64_t pixel(int64_t i) const { return blockIdx.y * e.pixels + i / e.width; }
  __device__ int64_t offset(int64_t i) const { return pixel(i) * e.channels + channel(i); }  // in y and dy
  template <typename T>
  __device__ T* element(const Joined<T>& x, int64_t i) const {
    return x(pixel(i), static_cast<int>(channel(i)));
  }
};

template <typename T>
__global__ void group_norm_kernel(T* __restrict__ y, float* __restrict__ means, float* __restrict__ rstds,
                                  Joined<const T> x, const float* __restrict__ gamma, const float* __restrict__ beta,
                                  Extents e, float eps, bool silu) {
  const Group group{e};
  const int64_t m = e.group_size();
  float sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) sum += static_cast<float>(*group.element(x, i));
  const float mean = block_sum<kThreads>(sum) / m;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const float d = static_cast<float>(*group.element(x, i)) - mean;
    squares += d * d;
  }
  const float rstd = 1 / sqrtf(block_sum<kThreads>(squares) / m + eps);
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    y[at] = Normal{mean, rstd, gamma[c], beta[c]}.output(*group.element(x, i), silu);
  }
  if (threadIdx.x == 0) {
    means[group.index()] = mean;
    rstds[group.index()] = rstd;
  }
}

template <typename T>
__global__ void group_norm_backward_kernel(Joined<T> dx, const T* __restrict__ dy, Joined<const T> x,
                                           const float* __restrict__ gamma, const float* __restrict__ beta,
                                           const float* __restrict__ means, const float* __restrict__ rstds, Extents e,
                                           bool silu) {
  const Group group{e};
  const int64_t m = e.group_size();
  const float mean = means[group.index()], rstd = rstds[group.index()];
  float sum = 0, sum_xn = 0;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    const Normal n{mean, rstd, gamma[c], beta[c]};
    const float xn = n.normalised(*group.element(x, i)), g = n.gamma * n.through_silu(dy[at], xn, silu);
    sum += g;
    sum_xn += g * xn;
  }
  const float pull = block_sum<kThreads>(sum) / m, slope = block_sum<kThreads>(sum_xn) / m;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    const Normal n{mean, rstd, gamma[c], beta[c]};
    const float xn = n.normalised(*group.element(x, i));
    if (T* to = group.element(dx, i)) *to = rstd * (n.gamma * n.through_silu(dy[at], xn, silu) - pull - xn * slope);
  }
}

__device__ void put(float* to, int64_t i, float value, bool add) {
  if (to) to[i] = add ? to[i] + value : value;
}

// One block a channel.
template <typename T>
__global__ void group_norm_parameters_kernel(float* dgamma, bool add_gamma, float* dbeta, bool add_beta,
                                             const T* __restrict__ dy, Joined<const T> x,
                                             const float* __restrict__ gamma, const float* __restrict__ beta,
                                             const float* __restrict__ means, const float* __restrict__ rstds,
                                             Extents e, int64_t images, bool silu) {
  const int64_t c = blockIdx.x;
  float sum = 0, sum_xn = 0;
  for (int64_t p = threadIdx.x; p < images * e.pixels; p += kThreads) {
    const int64_t group = p / e.pixels * e.groups + c / e.width, at = p * e.channels + c;
    const Normal n{means[group], rstds[group], gamma[c], beta[c]};
    const float xn = n.normalised(*x(p, static_cast<int>(c))), dz = n.through_silu(dy[at], xn, silu);
    sum += dz;
    sum_xn += dz * xn;
  }
  sum = block_sum<kThreads>(sum);
  sum_xn = block_sum<kThreads>(sum_xn);
  if (threadIdx.x == 0) {
    put(dgamma, c, sum_xn, add_gamma);
    put(dbeta, c, sum, add_beta);
  }
}

dim3 groups_and_images(const Concat<Tensor>& x, const GroupNormOptions& o) {
  return dim3(static_cast<unsigned>(o.groups), static_cast<unsigned>(x.a.dim(0)));
}

}  // namespace

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  for_floating("group_norm", x.a.dtype(), [&]<typename T>(T) {
    launch(group_norm_kernel<T>, groups_and_images(x, o), kThreads, 0, mutable_data<T>(out.y),
           mutable_data<float>(out.mean), mutable_data<float>(out.rstd), joined<T>(x), data<float>(gamma),
           data<float>(beta), Extents(x, o.groups), static_cast<float>(o.eps), o.silu);
  });
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Concat<Tensor>& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  const Extents e(x, o.groups);
  for_floating("group_norm", x.a.dtype(), [&]<typename T>(T) {
    if (to.dx.a || to.dx.b)
      launch(group_norm_backward_kernel<T>, groups_and_images(x, o), kThreads, 0, joined<T>(to.dx, x), data<T>(dy),
             joined<T>(x), data<float>(gamma), data<float>(beta), data<float>(mean), data<float>(rstd), e, o.silu);
    if (to.dgamma.wanted() || to.dbeta.wanted())
      launch(group_norm_parameters_kernel<T>, dim3(static_cast<unsigned>(e.channels)), kThreads, 0,
             mutable_data<float>(to.dgamma.to), to.dgamma.add, mutable_data<float>(to.dbeta.to), to.dbeta.add,
             data<T>(dy), joined<T>(x), data<float>(gamma), data<float>(beta), data<float>(mean), data<float>(rstd), e,
             x.a.dim(0), o.silu);
  });
}

}  // namespace stipple::cuda::naive
