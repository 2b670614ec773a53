#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/group_norm.h"

// group_norm, rung naive: one block a group of an image; a thread takes every 256th element of the group.
//
// Idea    the formulas of group_norm.h in their order, two-pass: mean, then squares of x - mean, then the map.
// Costs   forward x read three times, y written once; backward dy and x read twice, and once more for dgamma, dbeta.
// Tried   nothing yet: this is what faster rungs are measured against. At C/G = 4 channels a row of a group is 16
//         bytes: half of every 32-byte sector that is fetched belongs to another block.

namespace stipple::cuda {
namespace {

struct Extents {
  int64_t pixels, channels, groups, width;  // width: channels of a group

  Extents(const Tensor& x, int64_t group_count)
      : pixels(x.numel() / (x.dim(0) * x.dim(-1))),
        channels(x.dim(-1)),
        groups(group_count),
        width(channels / groups) {}
  __device__ int64_t group_size() const { return pixels * width; }
};

// One group of one image, as a block sees it: block (group, image).
struct Group {
  const Extents& e;
  __device__ int64_t index() const { return blockIdx.y * e.groups + blockIdx.x; }
  __device__ int64_t channel(int64_t i) const { return blockIdx.x * e.width + i % e.width; }
  __device__ int64_t offset(int64_t i) const { return (blockIdx.y * e.pixels + i / e.width) * e.channels + channel(i); }
};

__device__ float sigmoid(float z) { return 1 / (1 + expf(-z)); }
__device__ float silu_slope(float z) { return sigmoid(z) * (1 + z * (1 - sigmoid(z))); }

template <typename T>
__global__ void group_norm_kernel(T* __restrict__ y, float* __restrict__ means, float* __restrict__ rstds,
                                  const T* __restrict__ x, const float* __restrict__ gamma,
                                  const float* __restrict__ beta, Extents e, float eps, bool silu) {
  const Group group{e};
  const int64_t m = e.group_size();
  float sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) sum += static_cast<float>(x[group.offset(i)]);
  const float mean = block_sum<kThreads>(sum) / m;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const float d = static_cast<float>(x[group.offset(i)]) - mean;
    squares += d * d;
  }
  const float rstd = 1 / sqrtf(block_sum<kThreads>(squares) / m + eps);
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    const float z = gamma[c] * ((static_cast<float>(x[at]) - mean) * rstd) + beta[c];
    y[at] = silu ? z * sigmoid(z) : z;
  }
  if (threadIdx.x == 0) {
    means[group.index()] = mean;
    rstds[group.index()] = rstd;
  }
}

// dz = dy, times silu'(z) where y is silu(z).
__device__ float through_silu(float dy, float xn, float gamma, float beta, bool silu) {
  return silu ? dy * silu_slope(gamma * xn + beta) : dy;
}

template <typename T>
__global__ void group_norm_backward_kernel(T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x,
                                           const float* __restrict__ gamma, const float* __restrict__ beta,
                                           const float* __restrict__ means, const float* __restrict__ rstds, Extents e,
                                           bool silu) {
  const Group group{e};
  const int64_t m = e.group_size();
  const float mean = means[group.index()], rstd = rstds[group.index()];
  float sum = 0, sum_xn = 0;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    const float xn = (static_cast<float>(x[at]) - mean) * rstd;
    const float g = gamma[c] * through_silu(dy[at], xn, gamma[c], beta[c], silu);
    sum += g;
    sum_xn += g * xn;
  }
  const float pull = block_sum<kThreads>(sum) / m, slope = block_sum<kThreads>(sum_xn) / m;
  for (int64_t i = threadIdx.x; i < m; i += kThreads) {
    const int64_t at = group.offset(i), c = group.channel(i);
    const float xn = (static_cast<float>(x[at]) - mean) * rstd;
    dx[at] = rstd * (gamma[c] * through_silu(dy[at], xn, gamma[c], beta[c], silu) - pull - xn * slope);
  }
}

__device__ void put(float* to, int64_t i, float value, bool add) {
  if (to) to[i] = add ? to[i] + value : value;
}

// One block a channel.
template <typename T>
__global__ void group_norm_parameters_kernel(float* dgamma, bool add_gamma, float* dbeta, bool add_beta,
                                             const T* __restrict__ dy, const T* __restrict__ x,
                                             const float* __restrict__ gamma, const float* __restrict__ beta,
                                             const float* __restrict__ means, const float* __restrict__ rstds,
                                             Extents e, int64_t images, bool silu) {
  const int64_t c = blockIdx.x;
  float sum = 0, sum_xn = 0;
  for (int64_t p = threadIdx.x; p < images * e.pixels; p += kThreads) {
    const int64_t group = p / e.pixels * e.groups + c / e.width, at = p * e.channels + c;
    const float xn = (static_cast<float>(x[at]) - means[group]) * rstds[group];
    const float dz = through_silu(dy[at], xn, gamma[c], beta[c], silu);
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

void no_elements(const GroupNormGrads& to) {
  for (const Grad& g : {to.dgamma, to.dbeta})
    if (g.wanted() && !g.add) g.to.fill(0);
}

dim3 groups_and_images(const Tensor& x, const GroupNormOptions& o) {
  return dim3(static_cast<unsigned>(o.groups), static_cast<unsigned>(x.dim(0)));
}

}  // namespace

void group_norm(GroupNormOut& out, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o) {
  if (x.numel() == 0) return;
  for_floating("group_norm", x.dtype(), [&]<typename T>(T) {
    launch(group_norm_kernel<T>, groups_and_images(x, o), kThreads, 0, mutable_data<T>(out.y),
           mutable_data<float>(out.mean), mutable_data<float>(out.rstd), data<T>(x), data<float>(gamma),
           data<float>(beta), Extents(x, o.groups), static_cast<float>(o.eps), o.silu);
  });
}

void group_norm_backward(const GroupNormGrads& to, const Tensor& dy, const Tensor& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& mean, const Tensor& rstd, const GroupNormOptions& o) {
  if (x.numel() == 0) return no_elements(to);
  const Extents e(x, o.groups);
  for_floating("group_norm", x.dtype(), [&]<typename T>(T) {
    if (to.dx)
      launch(group_norm_backward_kernel<T>, groups_and_images(x, o), kThreads, 0, mutable_data<T>(to.dx), data<T>(dy),
             data<T>(x), data<float>(gamma), data<float>(beta), data<float>(mean), data<float>(rstd), e, o.silu);
    if (to.dgamma.wanted() || to.dbeta.wanted())
      launch(group_norm_parameters_kernel<T>, dim3(static_cast<unsigned>(e.channels)), kThreads, 0,
             mutable_data<float>(to.dgamma.to), to.dgamma.add, mutable_data<float>(to.dbeta.to), to.dbeta.add,
             data<T>(dy), data<T>(x), data<float>(gamma), data<float>(beta), data<float>(mean), data<float>(rstd), e,
             x.dim(0), o.silu);
  });
}

}  // namespace stipple::cuda
