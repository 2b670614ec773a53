#pragma once
#include <optional>
#include <vector>

#include "diffusion/pipeline.h"
#include "kernels/recorded_work.h"
#include "nn/optimizer.h"

namespace stipple {

// A micro-batch as the network sees it: pictures are noised, what it should answer is known.
struct NoisyBatch {
  Tensor noisy, target;  // f32 [N, H, W, C]
  Tensor timesteps;      // i64 [N]
  Tensor labels;         // i64 [N]; undefined where the network takes none
  Tensor dropout_seed;   // i64 []; undefined: nothing is dropped

  NoisyBatch to(Device) const;
  void copy_from(const NoisyBatch&) const;  // of the same shapes
  bool like(const NoisyBatch&) const;
};

// The mean squared error of the network's answer.
Var loss_of(const Denoiser&, const NoisyBatch&);

// An optimizer step on CUDA: nothing in it waits for the host or passes through it. A step with other shapes than the
// one before is taken as it comes. The second of its kind is captured as a graph, which reads batches, seeds and the
// optimizer's numbers from fixed places in device memory, and launched from then on; a single smaller batch in between,
// as at the end of an epoch, leaves the graph alone. STIPPLE_CUDA_GRAPH=off: no graphs, the same bits.
class DeviceStep {
 public:
  DeviceStep(Pipeline&, Adam&, const Tensor& ema);

  // With the micro-batches, on the host; the step has been prepared (Adam::prepare). Returns their mean loss.
  double operator()(const std::vector<NoisyBatch>&);
  bool captured() const { return graph_.has_value(); }

 private:
  void work(const std::vector<NoisyBatch>&) const;
  void capture(const std::vector<NoisyBatch>&);
  void launch(const std::vector<NoisyBatch>&) const;
  bool graph_fits(const std::vector<NoisyBatch>&) const;

  Pipeline* pipeline_;
  Adam* adam_;
  Tensor ema_, loss_;
  std::vector<NoisyBatch> before_;  // of the step before
  std::vector<NoisyBatch> inputs_;  // of the graph, on the device
  Tensor values_;                   // the arena the graph works on
  std::optional<RecordedWork> graph_;
};

}  // namespace stipple
