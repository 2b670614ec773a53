#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulator/api.h"
#include "kernels/emulator/grid.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/symbols.h"

// Streams, events and graphs. Work is done when it is handed over, so streams are always idle; while a stream is
// captured its work is written down instead, and what would need a result on the host fails, as it does on the device.

namespace emulator {

struct Graph {
  std::vector<std::function<std::string()>> nodes;  // each does one piece of work and returns what went wrong
};

struct Stream {
  Graph* capture = nullptr;
  bool invalid = false;
};

struct Event {
  std::chrono::steady_clock::time_point time;
};

namespace {

thread_local std::string last_report;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t failed(cudaError_t error, const std::string& report) {
  last_report = report;
  return last_error = error;
}

cudaError_t result_of(const std::string& report) {
  return report.empty() ? cudaSuccess : failed(cudaErrorLaunchFailure, report);
}

cudaError_t refuse_in_capture(cudaStream_t stream, const std::string& what) {
  if (!stream || !stream->capture) return cudaSuccess;
  stream->invalid = true;
  return failed(cudaErrorStreamCaptureUnsupported, what + " while a graph is captured");
}

cudaError_t perform(cudaStream_t stream, std::function<std::string()> work) {
  if (!stream || !stream->capture) return result_of(work());
  stream->capture->nodes.push_back(std::move(work));
  return cudaSuccess;
}

std::string fault_of_launch(const Launch& l) {
  const auto count = [](dim3 d) { return uint64_t{d.x} * d.y * d.z; };
  const std::string name = name_of_kernel(l.kernel);
  if (count(l.threads) < 1 || count(l.threads) > 1024)
    return name + ": " + std::to_string(count(l.threads)) + " threads a block; 1 to 1024 are possible";
  if (l.threads.z > 64) return name + ": " + std::to_string(l.threads.z) + " threads in z; 64 are possible";
  if (count(l.blocks) < 1 || l.blocks.y > 65535 || l.blocks.z > 65535 || l.blocks.x > 0x7FFFFFFF)
    return name + ": a grid of " + std::to_string(l.blocks.x) + " x " + std::to_string(l.blocks.y) + " x " +
           std::to_string(l.blocks.z) + " blocks";
  if (l.shared_bytes > size_t{227} << 10)
    return name + ": " + std::to_string(l.shared_bytes) + " bytes of shared memory; 232448 are possible";
  return {};
}

// Where a captured kernel's pointers lead: to the same allocations when the graph is launched.
std::vector<MemoryRange> ranges_of(const Launch& launch) {
  std::vector<MemoryRange> ranges;
  for (const void* p : launch.pointers) ranges.push_back(find_memory(p));
  return ranges;
}

std::string stale_pointer(const Launch& launch, const std::vector<MemoryRange>& captured) {
  const std::vector<MemoryRange> now = ranges_of(launch);
  for (size_t i = 0; i < now.size(); ++i)
    if (now[i].begin != captured[i].begin || now[i].bytes != captured[i].bytes)
      return name_of_kernel(launch.kernel) + ": pointer argument " + std::to_string(i) +
             " leads to memory that was freed after the graph was captured";
  return {};
}

bool on_this_stack(const void* pointer) {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)),
             address = reinterpret_cast<uintptr_t>(pointer);
  return address >= here && address < here + (size_t{1} << 20);
}

std::string pointer_to_stack(const Launch& launch) {
  for (size_t i = 0; i < launch.pointers.size(); ++i)
    if (on_this_stack(launch.pointers[i]))
      return name_of_kernel(launch.kernel) + ": pointer argument " + std::to_string(i) + " leads to the host's stack";
  return {};
}

// Copies of pageable memory cannot be captured: what lies there at the graph's launch is nobody's promise.
std::string fault_of_copy(const void* address, size_t bytes, bool device, bool captured) {
  const MemoryRange range = find_memory(address);
  if (range.kind != MemoryKind::unknown)
    return range.holds(address, bytes) ? ""
                                       : "a copy of " + std::to_string(bytes) +
                                             " bytes runs over the end of memory of " + std::to_string(range.bytes);
  if (device) return "a copy names device memory that is none: " + describe_nearest(address);
  return captured ? "a copy of pageable host memory while a graph is captured" : "";
}

}  // namespace

cudaError_t submit(Launch launch, cudaStream_t stream) {
  if (const std::string fault = fault_of_launch(launch); !fault.empty())
    return failed(cudaErrorInvalidConfiguration, fault);
  if (const std::string fault = pointer_to_stack(launch); !fault.empty()) return failed(cudaErrorInvalidValue, fault);
  if (!stream || !stream->capture) return result_of(run_grid(launch));
  return perform(stream, [launch, captured = ranges_of(launch)] {
    const std::string stale = stale_pointer(launch, captured);
    return stale.empty() ? run_grid(launch) : stale;
  });
}

}  // namespace emulator

using namespace emulator;

const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : last_report.c_str(); }

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaMalloc(void** to, size_t bytes) {
  *to = allocate_device(bytes);
  return *to ? cudaSuccess : failed(cudaErrorMemoryAllocation, "out of memory");
}

cudaError_t cudaFree(void* memory) { return free_device(memory), cudaSuccess; }

cudaError_t cudaMallocHost(void** to, size_t bytes) {
  *to = allocate_pinned(bytes);
  return *to ? cudaSuccess : failed(cudaErrorMemoryAllocation, "out of memory");
}

cudaError_t cudaFreeHost(void* memory) { return free_pinned(memory), cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool captured = stream && stream->capture;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  std::string fault = fault_of_copy(to, bytes, to_device, captured);
  if (fault.empty()) fault = fault_of_copy(from, bytes, from_device, captured);
  if (!fault.empty()) return failed(cudaErrorInvalidValue, fault);
  return perform(stream, [=] { return std::memmove(to, from, bytes), std::string(); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const std::string fault = fault_of_copy(to, bytes, true, false);
  if (!fault.empty()) return failed(cudaErrorInvalidValue, fault);
  return perform(stream, [=] { return std::memset(to, value, bytes), std::string(); });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) { return *free = *total = size_t{8} << 30, cudaSuccess; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return *stream = new Stream, cudaSuccess; }

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return refuse_in_capture(stream, "the host waits for the stream");
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = new Event, cudaSuccess; }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  return event->time = std::chrono::steady_clock::now(), cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (cudaError_t error = refuse_in_capture(stream, "a second capture begins")) return error;
  *stream = {new Graph, false};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  if (!stream->invalid) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return last_error = cudaErrorStreamCaptureInvalidated;  // the report is that of what was refused
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return *executable = new Graph(*graph), cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  if (cudaError_t error = refuse_in_capture(stream, "a graph is launched")) return error;
  for (const auto& node : graph->nodes)
    if (cudaError_t error = result_of(node())) return error;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return delete graph, cudaSuccess; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 132 : 227 << 10;  // an H100's
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
