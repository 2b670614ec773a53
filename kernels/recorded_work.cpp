#include "kernels/recorded_work.h"

#ifdef STIPPLE_CUDA
#include "kernels/cuda/runtime.h"

namespace stipple {

// Kernels that ran before leave blocks behind which the recording would allocate again.
RecordedWork::RecordedWork(const std::function<void()>& work) {
  allocator_of(Device::cuda).release_cached();
  graph_ = std::make_shared<cuda::Graph>(work);
}

void RecordedWork::launch() const { graph_->launch(); }

}  // namespace stipple

#else
#include "tensor/error.h"

namespace stipple {

RecordedWork::RecordedWork(const std::function<void()>&) { fail("this build of stipple records no work for a GPU"); }
void RecordedWork::launch() const {}

}  // namespace stipple
#endif
