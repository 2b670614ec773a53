#include "kernels/conv2d.h"

#include "kernels/cpu/conv2d_gemm.h"
#include "kernels/cpu/conv2d_oracle.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

// f64 always takes the oracle, which also knows what to do without any images.
std::string_view rung_for(Dtype dtype, const ConvGeometry& g) {
  if (dtype != Dtype::f32 || g.n == 0) return "oracle";
  const std::string_view wanted = rung("CONV2D", {"oracle", "double", "gemm", "winograd", "fastest"});
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

}  // namespace

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
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

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
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

void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions& o) {
  const Shape filter = dweight.wanted() ? dweight.to.shape() : Shape{dy.dim(3), 1, 1, x.dim(3)};
  const ConvGeometry g(x.shape(), filter, dy.shape(), o);
  const std::string_view chosen = rung_for(dy.dtype(), g);
  if (chosen != "oracle") {
    if (dbias.wanted()) gemm::conv2d_bias_gradient(destination(dbias), dy.data<float>(), g.pixels(), g.k);
    if (!dweight.wanted()) return;
    const float *upstream = dy.data<float>(), *from = x.data<float>();
    if (chosen == "winograd") return winograd::conv2d_weight_gradient(destination(dweight), upstream, from, g);
    return gemm::conv2d_weight_gradient(destination(dweight), upstream, from, g, tile_for(chosen));
  }
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    if (dweight.wanted())
      oracle::conv2d_weight_gradient(dweight.to.mutable_data<T>(), dweight.add, dy.data<T>(), x.data<T>(), g);
    if (dbias.wanted())
      oracle::conv2d_bias_gradient(dbias.to.mutable_data<T>(), dbias.add, dy.data<T>(), g.pixels(), g.k);
  });
}

}  // namespace stipple::cpu
