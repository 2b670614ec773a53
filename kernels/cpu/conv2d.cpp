#include "kernels/conv2d.h"

#include "kernels/cpu/conv2d_oracle.h"
#include "kernels/launch.h"

namespace stipple::cpu {

void conv2d(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  const ConvGeometry g(x.shape(), weight.shape(), y.shape(), o);
  for_real("conv2d", x.dtype(), [&]<typename T>(T) {
    oracle::conv2d(y.mutable_data<T>(), x.data<T>(), weight.data<T>(), bias ? bias.data<T>() : nullptr, g);
  });
}

void conv2d_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight, const Conv2dOptions& o) {
  const ConvGeometry g(dx.shape(), weight.shape(), dy.shape(), o);
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    oracle::conv2d_input_gradient(dx.mutable_data<T>(), dy.data<T>(), weight.data<T>(), g);
  });
}

void conv2d_weight_gradient(const Grad& dweight, const Grad& dbias, const Tensor& dy, const Tensor& x,
                            const Conv2dOptions& o) {
  for_real("conv2d", dy.dtype(), [&]<typename T>(T) {
    if (dweight.wanted()) {
      const ConvGeometry g(x.shape(), dweight.to.shape(), dy.shape(), o);
      oracle::conv2d_weight_gradient(dweight.to.mutable_data<T>(), dweight.add, dy.data<T>(), x.data<T>(), g);
    }
    if (dbias.wanted())
      oracle::conv2d_bias_gradient(dbias.to.mutable_data<T>(), dbias.add, dy.data<T>(), dy.numel() / dy.dim(-1),
                                   dy.dim(-1));
  });
}

}  // namespace stipple::cpu
