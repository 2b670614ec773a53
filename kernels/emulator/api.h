#pragma once
#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/emulator/vector_types.h"

// The part of CUDA's runtime interface that the project uses. The device is this process: device memory comes from the
// heap, but is known (memory.h), so that a kernel which touches anything else is found out. A stream does at once what
// it is given, or, while it is captured, records it.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};
// Of the last failure of this program: what the emulator found, over as many lines as it takes.
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};

namespace emulator {
struct Stream;
struct Event;
struct Graph;
}  // namespace emulator
using cudaStream_t = emulator::Stream*;
using cudaEvent_t = emulator::Event*;
using cudaGraph_t = emulator::Graph*;
using cudaGraphExec_t = emulator::Graph*;

cudaError_t cudaMalloc(void** to, size_t bytes);
cudaError_t cudaFree(void*);
cudaError_t cudaMallocHost(void** to, size_t bytes);
cudaError_t cudaFreeHost(void*);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaEventCreate(cudaEvent_t*);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t);

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int device);
cudaError_t cudaGetDeviceCount(int* count);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*)(Parameters...), cudaFuncAttribute, int) {
  return cudaSuccess;
}

namespace emulator {

// A kernel with its arguments, kept for as long as a captured graph needs it.
struct Launch {
  const void* kernel;                     // its address, for its name
  std::shared_ptr<const void> arguments;  // what the device calls constant memory
  size_t argument_bytes;
  void (*run)(const void* kernel, const void* arguments);  // as one thread
  dim3 blocks, threads;
  size_t shared_bytes;
  std::vector<const void*> pointers;  // among the arguments
};

cudaError_t submit(Launch, cudaStream_t);

// What kernel<<<blocks, threads, shared_bytes, stream>>>(given...) is to nvcc.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes, cudaStream_t stream,
                   Arguments&&... given) {
  using Values = std::tuple<Parameters...>;
  const auto run = [](const void* address, const void* values) {
    const auto function = reinterpret_cast<void (*)(Parameters...)>(const_cast<void*>(address));
    std::apply(function, *static_cast<const Values*>(values));
  };
  const auto values = std::make_shared<const Values>(std::forward<Arguments>(given)...);
  std::vector<const void*> pointers;
  const auto note = [&](const auto& value) {
    if constexpr (std::is_pointer_v<std::decay_t<decltype(value)>>) pointers.push_back(value);
  };
  std::apply([&](const auto&... each) { (note(each), ...); }, *values);
  return submit(
      {reinterpret_cast<const void*>(kernel), values, sizeof(Values), run, blocks, threads, shared_bytes, pointers},
      stream);
}

}  // namespace emulator
