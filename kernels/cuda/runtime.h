#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "tensor/allocator.h"
#include "tensor/tensor.h"

// The GPU as the host sees it: one stream on which everything happens in order, memory, pinned transfers, events,
// graphs. The same code drives a GPU and the emulator (kernels/emulator/), which offers the toolkit's interface.

namespace stipple::cuda {

// Throws where a call of the runtime failed; `what` says who called. A kernel's own fault shows at the next
// synchronize().
void check_call(cudaError_t, const char* what);

cudaStream_t stream();  // the compute stream
void synchronize();     // until the GPU has done all it was told; an error inside a captured graph

int multiprocessors();
size_t most_shared_bytes();  // a block can ask for

// A place in the stream, and the time the GPU came by it.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record();
  double milliseconds_since(const Event& earlier) const;  // waits for both

 private:
  cudaEvent_t event_ = nullptr;
};

// Host memory the GPU can copy from and to while the host goes on.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }
  void upload(const Tensor& to) const;      // starts the copy of to.nbytes() bytes and returns
  void download(const Tensor& from) const;  // likewise; read data() after synchronize()

 private:
  std::byte* data_ = nullptr;
  size_t bytes_;
};

// A recorded sequence of kernels and copies, launched as one. What `work` allocates comes from memory the graph keeps,
// so every launch finds it where it was; tensors made inside must not outlive the graph. Whatever changes between
// launches (learning rate, step, random offset) has to be read from device memory. Inside `work` the host may neither
// read results nor wait.
class Graph {
 public:
  explicit Graph(const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch();
  MemoryStats memory() const { return memory_->stats(); }

 private:
  std::unique_ptr<CachingAllocator> memory_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace stipple::cuda
