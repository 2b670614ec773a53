#include "diffusion/training/batch_source.h"

#include <algorithm>

#include "tensor/layout.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

class DataSource final : public BatchSource {
 public:
  DataSource(const Loader& loader, const ConditioningConfig& conditioning, int64_t train_timesteps,
             const DataSourceOptions& o, Generator& generator)
      : loader_(loader), conditioning_(conditioning), timesteps_(train_timesteps), options_(o), generator_(generator) {}

  int64_t total_steps() const override {
    return options_.max_train_steps ? options_.max_train_steps : options_.num_epochs * steps_an_epoch();
  }
  double epoch(int64_t step) const override {
    return static_cast<double>(step) / static_cast<double>(steps_an_epoch());
  }
  int64_t micro_batches(int64_t step) const override {
    return std::min(options_.gradient_accumulation_steps, loader_.batches() - first_batch(step));
  }

  TrainingBatch make(int64_t step, int64_t micro_batch) override {
    const Batch batch = loader_.batch(step / steps_an_epoch(), first_batch(step) + micro_batch);
    TrainingBatch made;
    made.clean = batch.images;
    made.noise = normal(generator_, batch.images.shape());
    made.timesteps = integers(generator_, {batch.images.dim(0)}, 0, timesteps_);
    if (conditioning_.kind != ClassConditioning::none) made.labels = drop_labels(batch.labels);
    if (options_.dropout) made.dropout_seed = integers(generator_, {1}, 0, int64_t{1} << 32).item<int64_t>();
    return made;
  }

 private:
  int64_t steps_an_epoch() const {
    const int64_t n = options_.gradient_accumulation_steps;
    return (loader_.batches() + n - 1) / n;
  }
  int64_t first_batch(int64_t step) const { return step % steps_an_epoch() * options_.gradient_accumulation_steps; }

  Tensor drop_labels(const Tensor& labels) {
    if (options_.label_dropout == 0) return labels;
    const Tensor kept = labels.clone(), chance = uniform(generator_, labels.shape());
    int64_t* label = kept.mutable_data<int64_t>();
    for (int64_t i = 0; i < kept.numel(); ++i)
      if (chance.data<float>()[i] < options_.label_dropout) label[i] = conditioning_.no_label();
    return kept;
  }

  const Loader& loader_;
  const ConditioningConfig& conditioning_;
  int64_t timesteps_;
  DataSourceOptions options_;
  Generator& generator_;
};

class ReplaySource final : public BatchSource {
 public:
  ReplaySource(const std::string& path, const Pipeline& pipeline)
      : file_(path), conditioned_(pipeline.denoiser.conditioning.kind != ClassConditioning::none) {
    while (file_.contains(name("clean", steps_))) ++steps_;
    check(steps_ > 0, "{}: holds no batches (clean.000, noise.000, timesteps.000, ...)", path);
    const int64_t tensors = steps_ * (conditioned_ ? 4 : 3);
    check(static_cast<int64_t>(file_.names().size()) == tensors,
          "{}: holds {} tensors; {} batches need {}: clean, noise, "
          "timesteps{} of each",
          path, file_.names().size(), steps_, tensors, conditioned_ ? ", labels" : "");
    for (int64_t step = 0; step < steps_; ++step) check_batch(step, pipeline);
  }

  int64_t total_steps() const override { return steps_; }
  double epoch(int64_t) const override { return 0; }
  int64_t micro_batches(int64_t) const override { return 1; }

  TrainingBatch make(int64_t step, int64_t) override {
    TrainingBatch made;
    made.clean = to_channels_last(file_.load(name("clean", step)).to(Dtype::f32));
    made.noise = to_channels_last(file_.load(name("noise", step)).to(Dtype::f32));
    made.timesteps = file_.load(name("timesteps", step));
    if (conditioned_) made.labels = file_.load(name("labels", step));
    return made;
  }

 private:
  // Looks at everything but the pictures themselves.
  void check_batch(int64_t step, const Pipeline& pipeline) const {
    const Shape& clean = file_.shape(name("clean", step));
    const Denoiser& denoiser = pipeline.denoiser;
    check(clean.rank() == 4 && clean[1] == denoiser.image_channels(), "{}: {} is {}, expected [N,{},H,W]", file_.path(),
          name("clean", step), to_string(clean), denoiser.image_channels());
    denoiser.unet.config.check_size(clean[2], clean[3]);
    check(file_.shape(name("noise", step)) == clean, "{}: {} is {}, expected {}", file_.path(), name("noise", step),
          to_string(file_.shape(name("noise", step))), to_string(clean));
    check_integers(name("timesteps", step), clean[0], pipeline.scheduler.num_train_timesteps);
    if (conditioned_) check_integers(name("labels", step), clean[0], denoiser.conditioning.rows());
  }

  void check_integers(const std::string& tensor, int64_t count, int64_t end) const {
    const Tensor numbers = file_.load(tensor);
    check(numbers.dtype() == Dtype::i64 && numbers.shape() == Shape{count}, "{}: {} is {}, expected i64[{}]",
          file_.path(), tensor, describe(numbers), count);
    for (int64_t n : numbers.to_vector<int64_t>())
      check(n >= 0 && n < end, "{}: {} holds {}, expected 0 to {}", file_.path(), tensor, n, end - 1);
  }

  static std::string name(const char* what, int64_t step) { return fmt::format("{}.{:03}", what, step); }

  SafetensorsFile file_;
  bool conditioned_;
  int64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<BatchSource> data_source(const Loader& loader, const ConditioningConfig& conditioning,
                                         int64_t train_timesteps, const DataSourceOptions& o, Generator& generator) {
  return std::make_unique<DataSource>(loader, conditioning, train_timesteps, o, generator);
}

std::unique_ptr<BatchSource> replay_source(const std::string& path, const Pipeline& pipeline) {
  return std::make_unique<ReplaySource>(path, pipeline);
}

}  // namespace stipple
