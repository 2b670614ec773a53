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
  const std::string_view wanted = rung("CONV2D", {"oracle", "gemm", "winograd", "fastest"});
  if (wanted == "fastest") return winograd::pays(g) ? "winograd" : "gemm";
  return wanted == "winograd" && !winograd::fits(g) ? "gemm" : wanted;
}

Destination destination(const Grad& grad) {
  return {grad.wanted() ? grad.to.mutable_data<float>() : nullptr, grad.add};
}

}  // namespace

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  const ConvGeometry g(x.shape(), weight.shape(), y.shape(), o);
  const std::string_view chosen = rung_for(x.dtype(), g);
  if (chosen != "oracle")
    return (chosen == "gemm" ? gemm::conv2d : winograd::conv2d)(
        y.mutable_data<float>(), x.data<float>(), weight.data<float>(), bias ? bias.data<float>() : nullptr, g);
  for_real("conv2d", x.dtype(), [&]<typename T>(T) {
    oracle::conv2d(y.mutable_data<T>(), x.data<T>(), weight.data<T>(), bias ? bias.data<T>() : nullptr, g);
  });
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  const ConvGeometry g(dx.shape(), weight.shape(), dy.shape(), o);
  const std::string_view chosen = rung_for(dy.dtype(), g);
  if (chosen != "oracle")
    return (chosen == "gemm" ? gemm::conv2d_input_gradient : winograd::conv2d_input_gradient)(
        dx.mutable_data<float>(), dy.data<float>(), weight.data<float>(), g);
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
    if (dweight.wanted())
      (chosen == "gemm" ? gemm::conv2d_weight_gradient : winograd::conv2d_weight_gradient)(
          destination(dweight), dy.data<float>(), x.data<float>(), g);
    return;
  }
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    if (dweight.wanted())
      oracle::conv2d_weight_gradient(dweight.to.mutable_data<T>(), dweight.add, dy.data<T>(), x.data<T>(), g);
    if (dbias.wanted())
      oracle::conv2d_bias_gradient(dbias.to.mutable_data<T>(), dbias.add, dy.data<T>(), g.pixels(), g.k);
  });
}

}  // namespace stipple::cpu
