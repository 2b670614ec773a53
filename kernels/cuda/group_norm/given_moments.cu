#include <algorithm>

#include "kernels/cuda/group_norm/rungs.h"
#include "kernels/cuda/joined.h"
#include "kernels/cuda/moments.h"
#include "kernels/cuda/shared_memory.h"

// group_norm, rung given_moments: the convolutions that made x have left the moments of its channels (moments.h).
//
// Idea    a small kernel joins them to means and rstds of the groups (Chan, Golub & LeVeque 1979, "Updating Formulae",
//         eq. 2.1), and the map of two_pass follows: x is read once, whatever the size of a picture. Because channels
//         have moments of their own, a group may straddle the seam of a concatenation, and those of a skip serve both
//         norms that read it.
// Costs   x read once and y written once; moments, 8 bytes a channel for 64 pixels, written by the convolution and read
//         twice here: of x, 1/32 each in f32, 1/16 in bf16.
// Reaches the digits of two_pass: means are summed as distances from one of them, so that none are lost where the mean
//         is large beside the deviation.
// Tried   moments of the two tensors joined by channel first: another kernel for nothing.

namespace stipple::cuda::given_moments {
namespace {

constexpr int kMostColumns = kThreads;  // channels of a block

// Block (some groups, image): lanes are channels, rows of threads share out pieces.
struct Joint {
  Pieces pieces;
  int groups, width;    // of all channels, of a group
  int groups_of_block;  // the last block may have fewer

  __host__ __device__ int columns() const { return groups_of_block * width; }
};

// f(piece, its part of the image) summed over pieces and over the channels of a group; for its first column, in order.
template <typename F>
__device__ float sum_group(const Joint& j, bool exists, int image, F&& f) {
  struct Sums {
    float of[kThreads];
  };
  auto& sums = static_shared<Sums>();
  const int column = threadIdx.x % j.columns(), rows = kThreads / j.columns(), row = threadIdx.x / j.columns();
  float sum = 0;
  for (int i = row; exists && row < rows && i < j.pieces.of_image(); i += rows)
    if (const int count = j.pieces.count(image, i); count > 0)
      sum += f(i, static_cast<float>(count) / static_cast<float>(j.pieces.pixels));
  sums.of[threadIdx.x] = sum;
  __syncthreads();
  const int first = column / j.width * j.width;
  sum = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < j.width; ++c) sum += sums.of[r * j.columns() + first + c];
  __syncthreads();
  return sum / static_cast<float>(j.width);
}

__global__ void join_given_moments_kernel(float* __restrict__ means, float* __restrict__ rstds,
                                          Joined<const float> moments, Joint j, float eps) {
  const int column = threadIdx.x % j.columns(), image = blockIdx.y;
  const int group = blockIdx.x * j.groups_of_block + column / j.width, channel = group * j.width + column % j.width;
  const bool exists = group < j.groups;
  const int64_t pieces = int64_t{2} * image * j.pieces.of_image();
  const auto of_channel = moments.column(exists ? channel : 0);
  const auto of_group = moments.column(exists ? group * j.width : 0);
  const float about = *of_group(pieces);  // the mean of a piece
  const auto mean_of = [&](int i) { return *of_channel(pieces + 2 * i) - about; };
  const float mean = sum_group(j, exists, image, [&](int i, float part) { return part * mean_of(i); });
  const float variance = sum_group(j, exists, image, [&](int i, float part) {
    const float d = mean_of(i) - mean;
    return *of_channel(pieces + 2 * i + 1) / static_cast<float>(j.pieces.pixels) + part * d * d;
  });
  if (!exists || static_cast<int>(threadIdx.x) >= j.columns() || column % j.width != 0) return;
  means[image * j.groups + group] = about + mean;
  rstds[image * j.groups + group] = 1 / sqrtf(variance + eps);
}

Joint joint(const Concat<Tensor>& x, const GroupNormOptions& o) {
  const int width = static_cast<int>(x.channels() / o.groups);
  const int pixels = static_cast<int>(x.a.numel() / x.a.dim(0) / x.a.dim(-1));
  return {Pieces{pixels}, static_cast<int>(o.groups), width, std::max(1, 32 / width)};
}

}  // namespace

bool fits(const Concat<Tensor>& x, const Concat<Tensor>& moments, const GroupNormOptions& o) {
  const bool all = moments.a.defined() && x.b.defined() == moments.b.defined();
  return all && joint(x, o).columns() <= kMostColumns && two_pass::fits(x, o);
}

void group_norm(GroupNormOut& out, const Concat<Tensor>& x, const Tensor& gamma, const Tensor& beta,
                const GroupNormOptions& o, const Concat<Tensor>& moments) {
  const Joint j = joint(x, o);
  const dim3 blocks(static_cast<unsigned>((j.groups + j.groups_of_block - 1) / j.groups_of_block),
                    static_cast<unsigned>(x.a.dim(0)));
  launch(join_given_moments_kernel, blocks, kThreads, 0, mutable_data<float>(out.mean), mutable_data<float>(out.rstd),
         joined<float>(moments), j, static_cast<float>(o.eps));
  two_pass::map(out, x, gamma, beta, o);
}

}  // namespace stipple::cuda::given_moments
