#pragma once
#include <memory>

#include "diffusion/data/loader.h"
#include "diffusion/training/trainer.h"
#include "tensor/random.h"

namespace stipple {

// Where the micro-batches of a run come from: a data set with fresh noise, or a file of prepared batches.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  virtual int64_t total_steps() const = 0;
  virtual double epoch(int64_t step) const = 0;           // fractional, after that many steps
  virtual int64_t micro_batches(int64_t step) const = 0;  // of optimizer step `step`, counted from 0
  virtual TrainingBatch make(int64_t step, int64_t micro_batch) = 0;
};

struct DataSourceOptions {
  int64_t gradient_accumulation_steps = 1;
  int64_t num_epochs = 100;
  int64_t max_train_steps = 0;  // 0: num_epochs decide
  double label_dropout = 0;
  bool dropout = false;  // the network has some: batches need seeds for it
};

// The pictures of a loader; noise, timesteps, label dropout and dropout's seed from `generator`, in order of use. As in
// diffusers' trainer the last step of an epoch may have fewer micro-batches.
std::unique_ptr<BatchSource> data_source(const Loader&, const ConditioningConfig&, int64_t train_timesteps,
                                         const DataSourceOptions&, Generator&);

// clean.000 [N,C,H,W], noise.000, timesteps.000 (and labels.000), ...: one optimizer step each, without dropout. A
// batch that the pipeline cannot be trained on throws here, whichever it is.
std::unique_ptr<BatchSource> replay_source(const std::string& path, const Pipeline&);

}  // namespace stipple
