#include "kernels/conv2d.h"
#include "kernels/cuda/channels.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/launch.h"

// conv2d: the ladder's rungs are in conv2d/. STIPPLE_CONV2D_CUDA=naive|tiled|mma says how high to climb: filters that
// are too large for mma, which no U-Net has, go to tiled.

namespace stipple::cuda {
namespace {

std::string_view chosen(const Correlation& g) {
  const std::string_view wanted = rung("CONV2D_CUDA", {"naive", "tiled", "mma"});
  return wanted == "mma" && !mma::takes(g) ? "tiled" : wanted;
}

constexpr int kPixels = 512;   // of an image that a block sums,
constexpr int kChannels = 32;  // and channels

// Block (32 channels, kPixels pixels, image): a thread sums kVector channels of every so manieth pixel.
// partials [parts of an image, images, channels].
template <typename T, int kVector>
__global__ void conv2d_channel_sums_kernel(float* __restrict__ partials, const T* __restrict__ dy, int pixels,
                                           int channels) {
  constexpr int kAcross = kChannels / kVector, kDown = kThreads / kAcross;
  struct Sums {
    float of[kDown][kChannels + 1];
  };
  auto& sums = static_shared<Sums>();
  const int column = threadIdx.x % kAcross * kVector, row = threadIdx.x / kAcross;
  const int first = blockIdx.y * kPixels, last = min(first + kPixels, pixels),
            channel = blockIdx.x * kChannels + column;
  dy += int64_t{blockIdx.z} * pixels * channels + channel;
  float own[kVector] = {}, values[kVector];
#pragma unroll 4  // so many loads under way
  for (int p = first + row; channel < channels && p < last; p += kDown) {
    unpack<T>(values, load_vector<RawChannels<T, kVector>>(dy + int64_t{p} * channels));
#pragma unroll
    for (int i = 0; i < kVector; ++i) own[i] += values[i];
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) sums.of[row][column + i] = own[i];
  __syncthreads();
  const int c = blockIdx.x * kChannels + threadIdx.x;
  if (threadIdx.x >= kChannels || c >= channels) return;
  float sum = 0;
#pragma unroll 8
  for (int r = 0; r < kDown; ++r) sum += sums.of[r][threadIdx.x];
  partials[(int64_t{blockIdx.y} * gridDim.z + blockIdx.z) * channels + c] = sum;
}

template <typename T>
struct ImageSum {
  T* to;
  __device__ void operator()(int64_t i, float sum) const { to[i] = sum; }
};

// Sums of dy over pixels: over an image's for the time embedding, over all for the bias.
void sum_gradients(const Conv2dGrads& to, const Tensor& dy) {
  const int64_t images = dy.dim(0), pixels = dy.dim(1) * dy.dim(2), channels = dy.dim(3);
  const int parts = static_cast<int>((pixels + kPixels - 1) / kPixels);
  const Tensor partials({parts, images, channels}, Dtype::f32, dy.device());
  const dim3 blocks(static_cast<unsigned>((channels + kChannels - 1) / kChannels), parts,
                    static_cast<unsigned>(images));
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    const auto kernel = channels % kChannelsOfVector<T> == 0 ? conv2d_channel_sums_kernel<T, kChannelsOfVector<T>>
                                                             : conv2d_channel_sums_kernel<T, 1>;
    launch(kernel, blocks, kThreads, 0, mutable_data<float>(partials), data<T>(dy), static_cast<int>(pixels),
           static_cast<int>(channels));
    if (to.dtime_embedding)
      add_partials(ImageSum<T>{mutable_data<T>(to.dtime_embedding)}, data<float>(partials), parts, images * channels);
  });
  if (to.dbias.wanted())
    add_partials(GradientElement{mutable_data<float>(to.dbias.to), to.dbias.add}, data<float>(partials),
                 parts * static_cast<int>(images), channels);
}

void no_pixels(const Conv2dGrads& to) {
  for (const Grad& g : {to.dweight, to.dbias})
    if (g.wanted() && !g.add) g.to.fill(0);
  if (to.dtime_embedding) to.dtime_embedding.fill(0);
}

}  // namespace

void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
            const Conv2dOptions& o) {
  Tensor& y = out.y;
  if (y.numel() == 0) return;
  check(!e.bias || e.bias.dtype() == Dtype::f32, "conv2d: the bias must be f32 on cuda, got {}", describe(e.bias));
  const Correlation g(concat_shape(x), weight.shape(), y.shape(), o);
  const std::string_view rung = chosen(g);
  if (rung == "mma") return mma::conv2d(out, x, weight, e, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d(y, x, weight, e, g) : naive::conv2d(y, x, weight, e, g);
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  if (dx.numel() == 0) return;
  const Correlation g(dx.shape(), weight.shape(), dy.shape(), o);
  const std::string_view rung = chosen(g);
  if (rung == "mma") return mma::conv2d_input_gradient(dx, dy, weight, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d_input_gradient(dx, dy, weight, g) : naive::conv2d_input_gradient(dx, dy, weight, g);
}

void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions& o) {
  if (dy.numel() == 0) return no_pixels(to);
  if (to.dbias.wanted() || to.dtime_embedding) sum_gradients(to, dy);
  if (!to.dweight.wanted()) return;
  const Grad& dweight = to.dweight;
  const Correlation g(x.shape(), dweight.to.shape(), dy.shape(), o);
  const std::string_view rung = chosen(g);
  if (rung == "mma") return mma::conv2d_weight_gradient(dweight, dy, x, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d_weight_gradient(dweight, dy, x, g) : naive::conv2d_weight_gradient(dweight, dy, x, g);
}

}  // namespace stipple::cuda
