#pragma once
#include <functional>
#include <span>

#include "diffusion/pipeline.h"
#include "diffusion/training/device_step.h"
#include "diffusion/training/metrics.h"
#include "nn/learning_rate.h"
#include "nn/optimizer.h"

namespace stipple {

struct OptimizerOptions {
  double learning_rate = 1e-4;
  LearningRateSchedule schedule{"cosine", 500, 0};
  AdamOptions adam{.beta1 = 0.95, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-6};
  double max_grad_norm = 1;  // 0: no clipping
  bool use_ema = false;
  EmaOptions ema;
};

// One micro-batch, with everything random already drawn, or its seed.
struct TrainingBatch {
  Tensor clean;                          // f32 [N, H, W, C] in [-1, 1]
  Tensor noise;                          // like clean
  Tensor timesteps;                      // i64 [N]
  Tensor labels;                         // i64 [N]; undefined where the network takes none
  std::optional<uint64_t> dropout_seed;  // of what the network's dropout draws; none: nothing is dropped
};

// Takes optimizer steps on a pipeline's network: Ho et al. 2020, arXiv:2006.11239, algorithm 1.
class Trainer {
 public:
  Trainer(Pipeline&, const OptimizerOptions&);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // One step on the mean loss of `count` micro-batches, made one at a time by `make`. A loss or gradient that is not
  // finite throws NotFinite and leaves the weights as they were.
  StepReport step(int64_t count, const std::function<TrainingBatch(int64_t)>& make);

  // Throws where weights, their average or their moments are no longer finite: nobody wants those saved.
  void check_weights() const;

  int64_t steps() const { return adam_.steps(); }
  bool uses_graph() const { return device_step_ && device_step_->captured(); }
  Adam& adam() { return adam_; }
  const Adam& adam() const { return adam_; }
  const Tensor& ema() const { return ema_; }  // an arena like the parameters'; undefined without EMA
  // What a user should get: the EMA where there is one, else the raw weights.
  const Tensor& best_weights() const { return ema_ ? ema_ : pipeline_->parameters.values(); }

 private:
  NoisyBatch noised(const TrainingBatch&) const;
  double accumulate_gradients(const TrainingBatch&, int64_t count);
  void step_on_host(StepReport&, int64_t count, const std::function<TrainingBatch(int64_t)>& make);
  void step_on_device(StepReport&, int64_t count, const std::function<TrainingBatch(int64_t)>& make);

  Pipeline* pipeline_;
  OptimizerOptions options_;
  NoiseSchedule noise_schedule_;
  Adam adam_;
  Tensor ema_;
  std::optional<DeviceStep> device_step_;  // of a pipeline on CUDA
};

struct NotFinite : Error {
  explicit NotFinite(const StepReport& r);
  StepReport report;
};

}  // namespace stipple
