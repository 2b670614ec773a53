#pragma once
#include <functional>
#include <memory>

// Work on the GPU, recorded once and launched as often as wanted, as one CUDA graph: the host spends microseconds on a
// training step instead of a thousand launches.

namespace stipple {

namespace cuda {
class Graph;
}

class RecordedWork {
 public:
  // Runs `work`, which is written down and not done. The rules are those of cuda::Graph (kernels/cuda/runtime.h): what
  // changes between launches lies in tensors made before; what is made inside lives in memory of the recording.
  explicit RecordedWork(const std::function<void()>& work);
  void launch() const;

 private:
  std::shared_ptr<cuda::Graph> graph_;
};

}  // namespace stipple
