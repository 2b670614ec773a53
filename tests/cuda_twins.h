#pragma once
#include "tensor/allocator.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/op_cases.h"
#ifdef STIPPLE_EMULATED
#include "kernels/emulator/emulator.h"
#endif

// What a kernel gives on CUDA beside what its CPU twin gives, which computes in f32 on the same rounded inputs.

namespace stipple {

inline std::vector<Tensor> on(Device device, const std::vector<Tensor>& tensors) {
  std::vector<Tensor> moved;
  for (const Tensor& t : tensors) moved.push_back(t.to(device));
  return moved;
}

inline std::vector<Tensor> in_f32(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> converted;
  for (const Tensor& t : tensors) converted.push_back(t.to(Dtype::f32));
  return converted;
}

inline OpResult on_cuda(const OpCase& c, const std::vector<Tensor>& inputs, Dtype dtype) {
  const OpResult result = evaluate(c, on(Device::cuda, inputs), dtype);
  return {result.y.to(Device::cpu), on(Device::cpu, result.gradients)};
}

inline OpResult on_cpu(const OpCase& c, const std::vector<Tensor>& inputs, Dtype dtype) {
  return evaluate(c, in_f32(inputs), dtype);
}

inline void check_close(const Tensor& cuda, const Tensor& cpu, double tolerance) {
  const double error = relative_error(cuda, cpu);
#ifdef STIPPLE_EMULATED
  if (!(error <= tolerance)) UNSCOPED_INFO("the latest kernels: " << emulator::latest_kernels());
#endif
  CHECK(error <= tolerance);
}

inline void check_close(const OpResult& cuda, const OpResult& cpu, double tolerance) {
  check_close(cuda.y, cpu.y, tolerance);
  for (size_t i = 0; i < cuda.gradients.size(); ++i) {
    INFO("gradient of input " << i);
    check_close(cuda.gradients[i], cpu.gradients[i], tolerance);
  }
}

inline void check_same_bits(const OpResult& a, const OpResult& b) {
  CHECK(same_bits(a.y, b.y));
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    INFO("gradient of input " << i);
    CHECK(same_bits(a.gradients[i], b.gradients[i]));
  }
}

// Close to the CPU's result, from memory that is NaN before it is written, and the same bits in a second run.
inline void check_twins(const OpCase& c, Dtype dtype, double tolerance) {
  INFO(name_of(dtype));
  const std::vector<Tensor> inputs = make_inputs(c, dtype);
  allocator_of(Device::cuda).set_poison(true);
  const OpResult first = on_cuda(c, inputs, dtype);
  allocator_of(Device::cuda).set_poison(false);
  check_close(first, on_cpu(c, inputs, dtype), tolerance);
  INFO("a second run");
  check_same_bits(on_cuda(c, inputs, dtype), first);
}

}  // namespace stipple
