#include "kernels/cuda/launch.h"

// Filling device memory, and conversion between dtypes: what Tensor asks of the GPU.

namespace stipple::cuda {
namespace {

template <typename T>
__global__ void fill_kernel(T* to, T value, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) to[i] = value;
}

template <typename To, typename From>
__device__ To converted(From x) {
  if constexpr (std::is_same_v<From, __nv_bfloat16>)
    return static_cast<To>(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, __nv_bfloat16>)
    return __float2bfloat16(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

template <typename To, typename From>
__global__ void convert_kernel(To* to, const From* from, int64_t n) {
  const int64_t i = global_thread();
  if (i < n) to[i] = converted<To>(from[i]);
}

// Calls f with a value of the dtype's type on the device.
template <typename F>
void for_any(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f32:
      return f(float{});
    case Dtype::bf16:
      return f(__nv_bfloat16{});
    case Dtype::f64:
      return f(double{});
    case Dtype::i64:
      return f(int64_t{});
    case Dtype::i32:
      return f(int32_t{});
    case Dtype::u8:
      return f(uint8_t{});
    default:
      fail("cuda: tensors of {} have to be converted on the host", name_of(dtype));
  }
}

template <typename T>
T host_value(double x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __float2bfloat16(static_cast<float>(x));
  else
    return static_cast<T>(x);
}

}  // namespace

void fill(const Tensor& to, double value) {
  if (to.numel() == 0) return;
  for_any(to.dtype(), [&]<typename T>(T) {
    launch(fill_kernel<T>, blocks_for(to.numel()), kThreads, 0, mutable_data<T>(to), host_value<T>(value), to.numel());
  });
}

void convert(const Tensor& to, const Tensor& from) {
  if (to.numel() == 0) return;
  for_any(from.dtype(), [&]<typename From>(From) {
    for_any(to.dtype(), [&]<typename To>(To) {
      launch(convert_kernel<To, From>, blocks_for(to.numel()), kThreads, 0, mutable_data<To>(to), data<From>(from),
             to.numel());
    });
  });
}

}  // namespace stipple::cuda
