#include "kernels/conv2d.h"

#include "kernels/arithmetic.h"
#include "kernels/cpu/conv2d_gemm.h"
#include "kernels/cpu/conv2d_oracle.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/launch.h"
#include "kernels/resample.h"

namespace stipple::cpu {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements of the output to a piece of cheap work

std::string_view wanted_rung() { return rung("CONV2D", {"oracle", "double", "gemm", "winograd", "fastest"}); }

// f64 always takes the oracle, which also knows what to do without any images.
std::string_view rung_for(Dtype dtype, const ConvGeometry& g) {
  if (dtype != Dtype::f32 || g.n == 0) return "oracle";
  const std::string_view wanted = wanted_rung();
  if (wanted == "winograd" && !winograd::fits(g)) return "gemm";
  if (wanted != "fastest") return wanted;
  if (affords_double(g.pixels() * g.k * g.window())) return "double";
  return winograd::pays(g) ? "winograd" : "gemm";
}

RegisterTile tile_for(std::string_view rung) {
  return rung == "double" ? simd::table().gemm_tile_in_double : simd::table().gemm_tile;
}

Destination destination(const Grad& grad) {
  return {grad.wanted() ? grad.to.mutable_data<float>() : nullptr, grad.add};
}

// Winograd's algorithm saves as much on the large map as sums of taps would on the small one.
Tensor enlarged(const Tensor& x, const Conv2dOptions& o) { return o.upsample ? kernels::upsample_nearest(x) : x; }

// y = sums + bias, by any rung.
void add_to_bias(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  const ConvGeometry g(x.shape(), weight.shape(), y.shape(), o);
  const std::string_view chosen = rung_for(x.dtype(), g);
  if (chosen != "oracle") {
    float* to = y.mutable_data<float>();
    const float *from = x.data<float>(), *w = weight.data<float>(), *b = bias ? bias.data<float>() : nullptr;
    if (chosen == "winograd") return winograd::conv2d(to, from, w, b, g);
    return gemm::conv2d(to, from, w, b, g, tile_for(chosen));
  }
  for_real("conv2d", x.dtype(), [&]<typename T>(T) {
    oracle::conv2d(y.mutable_data<T>(), x.data<T>(), weight.data<T>(), bias ? bias.data<T>() : nullptr, g);
  });
}

// Whether the two inputs are read as they are: where a network has them, 1x1 filters over large maps. Whoever else
// takes two is handed their concatenation.
bool reads_two(const Concat<Tensor>& x, const ConvGeometry& g, const Conv2dOptions& o) {
  return x.b && !o.upsample && g.r * g.s == 1 && rung_for(x.a.dtype(), g) == "gemm";
}

void add_two_to_bias(Tensor& y, const Concat<Tensor>& x, const Tensor& weight, const Tensor& bias,
                     const ConvGeometry& g) {
  gemm::conv2d_of_two(y.mutable_data<float>(), x.a.data<float>(), x.a.dim(3), x.b.data<float>(), weight.data<float>(),
                      bias.data<float>(), g, tile_for("gemm"));
}

// y = (y + time_embedding + residual) / output_scale_factor, in one pass; a pixel is a row.
template <typename T>
void finish(Tensor& y, const Conv2dEpilogue<Tensor>& e) {
  const int64_t channels = y.dim(3), pixels = y.dim(1) * y.dim(2);
  const T* embedding = e.time_embedding ? e.time_embedding.data<T>() : nullptr;
  const T* residual = e.residual ? e.residual.data<T>() : nullptr;
  const T scale = static_cast<T>(1 / e.output_scale_factor);
  T* to = y.mutable_data<T>();
  parallel_for_ranges(y.dim(0) * pixels, kGrain / std::max<int64_t>(1, channels) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      T* row = to + pixel * channels;
      const T* of_image = embedding ? embedding + pixel / pixels * channels : nullptr;
      const T* beside = residual ? residual + pixel * channels : nullptr;
      for (int64_t k = 0; of_image && k < channels; ++k) row[k] += of_image[k];
      for (int64_t k = 0; beside && k < channels; ++k) row[k] += beside[k];
      for (int64_t k = 0; scale != 1 && k < channels; ++k) row[k] *= scale;
    }
  });
}

}  // namespace

void conv2d(Conv2dOut& out, const Concat<Tensor>& x, const Tensor& weight, const Conv2dEpilogue<Tensor>& e,
            const Conv2dOptions& o) {
  Tensor& y = out.y;
  if (const ConvGeometry g(concat_shape(x), weight.shape(), y.shape(), o); reads_two(x, g, o))
    add_two_to_bias(y, x, weight, e.bias, g);
  else
    add_to_bias(y, enlarged(kernels::concat_channels(x), o), weight, e.bias, o);
  if (!e.time_embedding && !e.residual && e.output_scale_factor == 1) return;
  for_real("conv2d", y.dtype(), [&]<typename T>(T) { finish<T>(y, e); });
}

namespace {

void dense_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  const ConvGeometry g(dx.shape(), weight.shape(), dy.shape(), o);
  const std::string_view chosen = rung_for(dy.dtype(), g);
  if (chosen != "oracle") {
    float* to = dx.mutable_data<float>();
    const float *from = dy.data<float>(), *w = weight.data<float>();
    if (chosen == "winograd") return winograd::conv2d_input_gradient(to, from, w, g);
    return gemm::conv2d_input_gradient(to, from, w, g, tile_for(chosen));
  }
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    oracle::conv2d_input_gradient(dx.mutable_data<T>(), dy.data<T>(), weight.data<T>(), g);
  });
}

void bias_gradient(const Grad& to, const Tensor& dy) {
  const int64_t filters = dy.dim(3), pixels = dy.numel() / std::max<int64_t>(1, filters);
  if (dy.dtype() == Dtype::f32 && wanted_rung() != "oracle")
    return gemm::conv2d_bias_gradient(destination(to), dy.data<float>(), pixels, filters);
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    oracle::conv2d_bias_gradient(to.to.mutable_data<T>(), to.add, dy.data<T>(), pixels, filters);
  });
}

void filter_gradient(const Grad& to, const Tensor& dy, const Tensor& x, const Conv2dOptions& o) {
  const ConvGeometry g(x.shape(), to.to.shape(), dy.shape(), o);
  const std::string_view chosen = rung_for(dy.dtype(), g);
  if (chosen != "oracle") {
    const float *upstream = dy.data<float>(), *from = x.data<float>();
    if (chosen == "winograd") return winograd::conv2d_weight_gradient(destination(to), upstream, from, g);
    return gemm::conv2d_weight_gradient(destination(to), upstream, from, g, tile_for(chosen));
  }
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    oracle::conv2d_weight_gradient(to.to.mutable_data<T>(), to.add, dy.data<T>(), x.data<T>(), g);
  });
}

}  // namespace

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  if (!o.upsample) return dense_input_gradient(dx, dy, weight, o);
  Tensor large({dx.dim(0), 2 * dx.dim(1), 2 * dx.dim(2), dx.dim(3)}, dx.dtype());
  dense_input_gradient(large, dy, weight, o);
  upsample_nearest_backward(dx, large);
}

void conv2d_weight_gradient(const Conv2dGrads& to, const Tensor& dy, const Tensor& x, const Conv2dOptions& o) {
  if (to.dweight.wanted()) filter_gradient(to.dweight, dy, enlarged(x, o), o);
  if (to.dbias.wanted()) bias_gradient(to.dbias, dy);
  if (!to.dtime_embedding) return;
  Tensor one_pixel = to.dtime_embedding.reshape({dy.dim(0), 1, 1, dy.dim(3)});
  sum_to(one_pixel, dy);
}

}  // namespace stipple::cpu
