#pragma once
#include <initializer_list>
#include <string_view>
#include <utility>

#include "tensor/tensor.h"

namespace stipple {

// Runs the backend of the device: `launch<&cpu::conv2d, &cuda::conv2d>(x.device(), y, x, ...)`. That is all the
// dispatch there is; in a build with CUDA, a backend that lacks a kernel does not link.
template <auto Cpu, auto Cuda, typename... Args>
void launch(Device device, Args&&... args) {
#ifdef STIPPLE_CUDA
  if (device == Device::cuda) return Cuda(std::forward<Args>(args)...);
#endif
  check(device == Device::cpu, "this build of stipple has no {} kernels", name_of(device));
  Cpu(std::forward<Args>(args)...);
}

// Of an operation that has no CUDA kernel yet.
template <auto Cpu, typename... Args>
void launch(Device device, Args&&... args) {
  check(device == Device::cpu, "this operation has no {} kernel yet", name_of(device));
  Cpu(std::forward<Args>(args)...);
}

// Which implementation of an operation to use, from the environment variable STIPPLE_<OPERATION>; the last of `rungs`
// where it is unset. A name that is not a rung is an error. E.g. rung("GROUP_NORM", {"oracle", "simd"}).
std::string_view rung(const char* operation, std::initializer_list<std::string_view> rungs);

// Whether an f32 tensor should go to the oracle (direct loops in double) rather than to the fast kernel. f64 always
// does.
bool use_oracle(const char* operation, Dtype);

}  // namespace stipple
