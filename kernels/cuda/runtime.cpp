#include "kernels/cuda/runtime.h"

#include <utility>

namespace stipple::cuda {
namespace {

CachingAllocator* graph_memory = nullptr;  // of the graph that is being captured

void* device_allocate(size_t bytes) {
  void* block = nullptr;
  if (cudaMalloc(&block, bytes) == cudaSuccess) return block;
  cudaGetLastError();  // otherwise the next launch would report it
  return nullptr;
}

void device_release(void* block) { cudaFree(block); }

void device_poison(void* block, size_t bytes) { check_call(cudaMemsetAsync(block, 0xFF, bytes, stream()), "poison"); }

constexpr MemorySource kDeviceMemory{device_allocate, device_release, device_poison};

int attribute(cudaDeviceAttr wanted) {
  int value = 0;
  check_call(cudaDeviceGetAttribute(&value, wanted, 0), "cuda: device attribute");
  return value;
}

cudaMemcpyKind direction(Device to, Device from) {
  if (from == Device::cpu) return cudaMemcpyHostToDevice;
  return to == Device::cpu ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice;
}

}  // namespace

void check_call(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  fail("{}: {}", what, cudaGetErrorString(error));
}

cudaStream_t stream() {
  static const cudaStream_t compute = [] {
    cudaStream_t made = nullptr;
    check_call(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cuda: the compute stream");
    return made;
  }();
  return compute;
}

void synchronize() { check_call(cudaStreamSynchronize(stream()), "cuda"); }

int multiprocessors() {
  static const int count = attribute(cudaDevAttrMultiProcessorCount);
  return count;
}

size_t most_shared_bytes() {
  static const int bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return static_cast<size_t>(bytes);
}

bool is_built() { return true; }

CachingAllocator& allocator() {
  static CachingAllocator& of_process = *[] {  // never destroyed, like the host's
    auto* made = new CachingAllocator(kDeviceMemory);
    made->set_caching(caching_is_wanted());
    return made;
  }();
  return graph_memory ? *graph_memory : of_process;
}

void copy(std::byte* to, Device to_device, const std::byte* from, Device from_device, size_t bytes) {
  check_call(cudaMemcpyAsync(to, from, bytes, direction(to_device, from_device), stream()), "copy");
  if (to_device != from_device) synchronize();
}

Event::Event() { check_call(cudaEventCreate(&event_), "event"); }
Event::~Event() { cudaEventDestroy(event_); }
void Event::record() { check_call(cudaEventRecord(event_, stream()), "event"); }

double Event::milliseconds_since(const Event& earlier) const {
  float milliseconds = 0;
  check_call(cudaEventSynchronize(event_), "event");
  check_call(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "event");
  return milliseconds;
}

PinnedBuffer::PinnedBuffer(size_t bytes) : bytes_(bytes) {
  void* memory = nullptr;
  check_call(cudaMallocHost(&memory, bytes), "pinned memory");
  data_ = static_cast<std::byte*>(memory);
}

PinnedBuffer::~PinnedBuffer() { cudaFreeHost(data_); }

void PinnedBuffer::upload(const Tensor& to) const {
  check(to.nbytes() <= bytes_, "upload: {} from a buffer of {} bytes", describe(to), bytes_);
  check_call(cudaMemcpyAsync(to.mutable_bytes(), data_, to.nbytes(), cudaMemcpyHostToDevice, stream()), "upload");
}

void PinnedBuffer::download(const Tensor& from) const {
  check(from.nbytes() <= bytes_, "download: {} to a buffer of {} bytes", describe(from), bytes_);
  check_call(cudaMemcpyAsync(data_, from.bytes(), from.nbytes(), cudaMemcpyDeviceToHost, stream()), "download");
}

Graph::Graph(const std::function<void()>& work) : memory_(std::make_unique<CachingAllocator>(kDeviceMemory)) {
  // Relaxed: the graph's memory is allocated while its work is captured.
  check_call(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed), "graph");
  cudaGraph_t captured = nullptr;
  graph_memory = memory_.get();
  try {
    work();
  } catch (...) {
    graph_memory = nullptr;
    if (cudaStreamEndCapture(stream(), &captured) == cudaSuccess) cudaGraphDestroy(captured);
    cudaGetLastError();
    throw;
  }
  graph_memory = nullptr;
  check_call(cudaStreamEndCapture(stream(), &captured), "graph");
  const cudaError_t error = cudaGraphInstantiate(&graph_, captured, 0);
  cudaGraphDestroy(captured);
  check_call(error, "graph");
}

Graph::~Graph() { cudaGraphExecDestroy(graph_); }

void Graph::launch() { check_call(cudaGraphLaunch(graph_, stream()), "graph"); }

}  // namespace stipple::cuda
