#pragma once
#include <filesystem>

#include "diffusion/training/checkpoint.h"
#include "diffusion/training/sample_grid.h"
#include "diffusion/training/train.h"

namespace stipple {

// All that a run works with, opened and checked against each other, its checkpoint loaded. What cannot work throws
// here, before the first step and before anything in the output folder has changed.
class PreparedRun {
 public:
  PreparedRun(const TrainOptions&, const TrainWatch&);
  PreparedRun(const PreparedRun&) = delete;
  PreparedRun& operator=(const PreparedRun&) = delete;

  std::unique_ptr<Pipeline> pipeline;
  std::optional<Loader> loader;  // none for --replay
  PhiloxGenerator noise;
  std::unique_ptr<BatchSource> source;
  std::optional<Trainer> trainer;
  int64_t total_steps = 0;
  RunSettings settings;

  bool draws() const { return options_.sample_count > 0 && loader; }
  SampleGridOptions grid() const;

 private:
  void say_all(const std::vector<std::string>& notices) const;
  void open_network();
  void open_data();
  void fit_sample_size(UNet2DConfig&) const;
  void build_network();
  void check_resumed() const;
  void check_network() const;
  void check_conditioning() const;
  void open_batches();
  void open_trainer();
  const Dataset* data() const { return loader ? &loader->dataset() : nullptr; }

  const TrainOptions& options_;
  const TrainWatch& watch_;
  std::optional<std::filesystem::path> resume_;
  std::optional<UNet2DConfig> config_;  // of --config
};

}  // namespace stipple
