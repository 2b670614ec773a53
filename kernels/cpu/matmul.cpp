#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/cpu/matmul_eigen.h"
#include "kernels/cpu/matmul_simd.h"
#include "kernels/cpu/parallel.h"
#include "kernels/launch.h"

namespace stipple::cpu {
namespace {

std::string_view matmul_rung() { return rung("MATMUL", {"oracle", "eigen", "double", "simd", "fastest"}); }

// The register tile that the product is made of, or null: then it is one for the other rungs.
RegisterTile register_tile(Dtype dtype, const MatmulExtents& e) {
  const std::string_view wanted = matmul_rung();
  if (dtype != Dtype::f32 || wanted == "oracle" || wanted == "eigen") return nullptr;
  const bool in_double = wanted == "double" || (wanted == "fastest" && affords_double(e.rows * e.columns * e.inner));
  return in_double ? simd::table().gemm_tile_in_double : simd::table().gemm_tile;
}

MatmulExtents extents(const Tensor& c, const Tensor& a, Transpose transpose_a, Transpose transpose_b) {
  return {c.dim(0), c.dim(1), a.dim(transpose_a == Transpose::yes ? 0 : 1), transpose_a, transpose_b};
}

// The oracle: each element one sum in double.
template <typename T>
void matmul_oracle(T* c, bool add, const T* a, const T* b, const MatmulExtents& e) {
  const bool ta = e.transpose_a == Transpose::yes, tb = e.transpose_b == Transpose::yes;
  parallel_for(e.rows, [&](int64_t m) {
    for (int64_t n = 0; n < e.columns; ++n) {
      double sum = add ? c[m * e.columns + n] : 0;
      for (int64_t k = 0; k < e.inner; ++k)
        sum +=
            static_cast<double>(a[ta ? k * e.rows + m : m * e.inner + k]) * b[tb ? n * e.inner + k : k * e.columns + n];
      c[m * e.columns + n] = static_cast<T>(sum);
    }
  });
}

template <typename T>
void product(T* c, bool add, const T* a, const T* b, const MatmulExtents& e) {
  if (matmul_rung() == "oracle") return matmul_oracle(c, add, a, b, e);
  matmul_eigen(c, add, a, b, e);
}

}  // namespace

void matmul(const Grad& c, const Tensor& a, const Tensor& b, Transpose transpose_a, Transpose transpose_b) {
  const MatmulExtents e = extents(c.to, a, transpose_a, transpose_b);
  if (const RegisterTile tile = register_tile(a.dtype(), e))
    return matmul_simd({c.to.mutable_data<float>(), c.add}, nullptr, a.data<float>(), b.data<float>(), e, tile);
  for_real("matmul", a.dtype(),
           [&]<typename T>(T) { product(c.to.mutable_data<T>(), c.add, a.data<T>(), b.data<T>(), e); });
}

void linear(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const MatmulExtents e = extents(y, x, Transpose::no, Transpose::yes);
  if (const RegisterTile tile = register_tile(x.dtype(), e))
    return matmul_simd({y.mutable_data<float>()}, bias ? bias.data<float>() : nullptr, x.data<float>(),
                       weight.data<float>(), e, tile);
  for_real("linear", x.dtype(), [&]<typename T>(T) {
    T* to = y.mutable_data<T>();
    if (bias)
      for (int64_t row = 0; row < y.dim(0); ++row) std::copy_n(bias.data<T>(), y.dim(1), to + row * y.dim(1));
    product(to, bias.defined(), x.data<T>(), weight.data<T>(), e);
  });
}

}  // namespace stipple::cpu
