#pragma once
#include <functional>
#include <optional>
#include <string>

#include "diffusion/data/dataset.h"
#include "diffusion/training/batch_source.h"
#include "diffusion/training/trainer.h"
#include "nn/mixed_precision.h"

namespace stipple {

// A training run, as the command line describes it.
struct TrainOptions {
  std::string output_dir;
  std::string data;     // a path or name, see open_dataset()
  std::string replay;   // or a file of prepared batches
  std::string from;     // a pipeline folder to fine-tune
  std::string variant;  // of its weights, see Pipeline::load(); empty: those without
  std::string config;   // or a U-Net's config.json; without either, the network is derived from the resolution

  DatasetOptions dataset;  // resolution 0: the network's, or the set's own, whose pictures must then agree
  int64_t train_batch_size = 16;
  bool random_flip = false;
  DataSourceOptions steps;  // its label_dropout adds the row "no label"
  OptimizerOptions optimizer;
  SchedulerConfig scheduler;  // of a new network; --from brings its own; `given`: what the command line named
  std::optional<ClassConditioning> class_conditioning;  // unset: none, or what --from brings
  std::optional<int64_t> class_planes;                  // of conditioning by channels; unset: 4, or what --from brings
  bool gradient_checkpointing = false;
  MixedPrecision mixed_precision = MixedPrecision::no;
  uint64_t seed = 0;
  Device device = Device::cpu;

  Dtype save_dtype = Dtype::f32;  // of the final pipeline's weights; checkpoints keep all bits
  int64_t checkpointing_steps = 500;
  int64_t checkpoints_total_limit = 0;  // 0: all are kept
  std::string resume_from_checkpoint;   // "latest" or a folder
  bool overwrite_output_dir = false;

  int64_t save_images_steps = 0;  // a sample grid every so many steps; 0: save_images_epochs decides
  int64_t save_images_epochs = 10;
  int64_t sample_count = 16, sample_steps = 50;  // of a grid, by DDIM
  double sample_guidance_scale = 1;
};

// How the caller follows a run.
struct TrainWatch {
  std::function<void(const std::string&)> say;                          // a line the user should read
  std::function<void(const StepReport&, int64_t total_steps)> on_step;  // after every optimizer step
  std::function<bool()> interrupted;                                    // asked after every step
};

enum class TrainEnd { finished, interrupted };

// Trains, writing into output_dir: metrics.jsonl, loss.png, samples/, checkpoint-STEP/, and at the end the pipeline.
// When interrupted it saves a checkpoint first. Errors leave what was saved before; a run that cannot begin changes
// nothing in output_dir. Weights that are not finite are never saved.
TrainEnd train(const TrainOptions&, const TrainWatch&);

}  // namespace stipple
