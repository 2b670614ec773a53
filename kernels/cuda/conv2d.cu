#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d/rungs.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/launch.h"

// conv2d: the ladder's rungs are in conv2d/. STIPPLE_CONV2D_CUDA=naive|tiled|mma takes one for all.

namespace stipple::cuda {
namespace {

std::string_view chosen() { return rung("CONV2D_CUDA", {"naive", "tiled", "mma"}); }

constexpr int kPixels = 512;  // a block sums for the bias

// Block (32 channels, kPixels pixels): lanes are channels, warps share out pixels.
template <typename T>
__global__ void conv2d_bias_kernel(float* __restrict__ partials, const T* __restrict__ dy, int64_t pixels,
                                   int channels) {
  struct Sums {
    float of[kThreads / 32][32];
  };
  auto& sums = static_shared<Sums>();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channel = blockIdx.x * 32 + lane;
  const int64_t first = int64_t{blockIdx.y} * kPixels, last = min(first + kPixels, pixels);
  float sum = 0;
  if (channel < channels)
    for (int64_t p = first + warp; p < last; p += kThreads / 32) sum += static_cast<float>(dy[p * channels + channel]);
  sums.of[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || channel >= channels) return;
  for (int other = 1; other < kThreads / 32; ++other) sum += sums.of[other][lane];
  partials[int64_t{blockIdx.y} * channels + channel] = sum;
}

void bias_gradient(const Grad& dbias, const Tensor& dy) {
  const int64_t channels = dy.dim(-1), pixels = dy.numel() / channels, parts = (pixels + kPixels - 1) / kPixels;
  const Tensor partials({parts, channels}, Dtype::f32, dy.device());
  for_floating("conv2d", dy.dtype(), [&]<typename T>(T) {
    launch(conv2d_bias_kernel<T>, dim3(static_cast<unsigned>((channels + 31) / 32), static_cast<unsigned>(parts)),
           kThreads, 0, mutable_data<float>(partials), data<T>(dy), pixels, static_cast<int>(channels));
  });
  add_partials(GradientElement{mutable_data<float>(dbias.to), dbias.add}, data<float>(partials),
               static_cast<int>(parts), channels);
}

void no_pixels(const Grad& gradient) {
  if (gradient.wanted() && !gradient.add) gradient.to.fill(0);
}

}  // namespace

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  if (y.numel() == 0) return;
  check(!bias || bias.dtype() == Dtype::f32, "conv2d: the bias must be f32 on cuda, got {}", describe(bias));
  const Correlation g(x.shape(), weight.shape(), y.shape(), o);
  const std::string_view rung = chosen();
  if (rung == "mma") return mma::conv2d(y, x, weight, bias, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d(y, x, weight, bias, g) : naive::conv2d(y, x, weight, bias, g);
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  if (dx.numel() == 0) return;
  const Correlation g(dx.shape(), weight.shape(), dy.shape(), o);
  const std::string_view rung = chosen();
  if (rung == "mma") return mma::conv2d_input_gradient(dx, dy, weight, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d_input_gradient(dx, dy, weight, g) : naive::conv2d_input_gradient(dx, dy, weight, g);
}

void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions& o) {
  if (dy.numel() == 0) return no_pixels(dweight), no_pixels(dbias);
  if (dbias.wanted()) bias_gradient(dbias, dy);
  if (!dweight.wanted()) return;
  const Correlation g(x.shape(), dweight.to.shape(), dy.shape(), o);
  const std::string_view rung = chosen();
  if (rung == "mma") return mma::conv2d_weight_gradient(dweight, dy, x, g, allows_tf32());
  rung == "tiled" ? tiled::conv2d_weight_gradient(dweight, dy, x, g) : naive::conv2d_weight_gradient(dweight, dy, x, g);
}

}  // namespace stipple::cuda
