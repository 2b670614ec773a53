#include "diffusion/generate.h"

#include <algorithm>
#include <cmath>

#include "kernels/adamw.h"
#include "tensor/layout.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

// diffusers' pipelines default to all of DDPM's steps and to 50 of the others'.
int64_t default_steps(const SchedulerConfig& config) {
  return std::min<int64_t>(config.class_name == "DDPMScheduler" ? 1000 : 50, config.num_train_timesteps);
}

Tensor repeated(const Tensor& image, int64_t n) {
  Tensor images({n, image.dim(0), image.dim(1), image.dim(2)});
  for (int64_t i = 0; i < n; ++i) images[i].copy_from(image);
  return images;
}

BatchNoise on(Device device, const BatchNoise& noise) {
  return {noise.start.to(device), [draw = noise.steps, device](const Shape& shape) { return draw(shape).to(device); }};
}

// One call of generate(): the checked options and what they mean for this pipeline.
class Generation {
 public:
  Generation(Pipeline& pipeline, const GenerateOptions& o)
      : pipeline_(pipeline), options_(o), shape_(image_shape(pipeline, o)) {
    scheduler_ = scheduler_of(pipeline, o);
    steps_ = o.steps ? o.steps : default_steps(scheduler_);
    count_ = image_count(o);
    check(count_ >= 1, "there is nothing to draw: no seeds and no noise");
    check(o.classes.empty() || static_cast<int64_t>(o.classes.size()) == count_, "{} classes for {} images",
          o.classes.size(), count_);
    check_takes_classes(pipeline.denoiser.unet.config);
    check_classes();
    check(std::isfinite(o.guidance_scale), "a guidance scale of {}: a number is expected", o.guidance_scale);
    check(o.guidance_scale == 1 || pipeline.denoiser.conditioning.kind != ClassConditioning::none,
          "guidance needs a network that is conditioned on classes; this one is not");
    if (o.guidance_scale != 1) pipeline.denoiser.conditioning.no_label();
    check_image();
    const auto sampler = make_sampler(scheduler_.class_name, scheduler_, steps_, o.step);
    check_timesteps(*sampler);
    SamplingOptions guided;
    guide(guided, *sampler, 1);
  }

  Tensor run() {
    check(std::isfinite(kernels::squared_norm(pipeline_.parameters.values())),
          "the network's weights hold infinity or what is not a number: its training has diverged");
    const bool whole = !options_.noise_file.empty() || !options_.trajectory_file.empty() || options_.watch;
    const int64_t batch = whole ? count_ : std::max<int64_t>(1, options_.batch_size);
    Tensor images({count_, shape_[0], shape_[1], shape_[2]});
    batches_ = (count_ + batch - 1) / batch;
    for (int64_t begin = 0; begin < count_; begin += batch, ++batch_) {
      const int64_t end = std::min(count_, begin + batch);
      const Tensor drawn = draw(begin, end);
      if (!drawn) return {};
      images.slice(begin, end).copy_from(drawn);
    }
    check(std::isfinite(kernels::squared_norm(images)),
          "what was drawn is no picture: it holds infinity or what is not a number");
    if (options_.on_images) options_.on_images(images);
    if (!options_.trajectory_file.empty()) save_safetensors(options_.trajectory_file, trajectory_);
    return images;
  }

 private:
  // "No label" has a row of its own, but is no class to draw.
  void check_classes() const {
    const ConditioningConfig& conditioning = pipeline_.denoiser.conditioning;
    conditioning.check_labels(labels(0, count_));
    for (int64_t c : options_.classes)
      check(c < conditioning.classes, "class {} is unknown: the network has {} classes, 0 to {}", c,
            conditioning.classes, conditioning.classes - 1);
  }

  bool learned_times() const { return pipeline_.denoiser.unet.config.time_embedding_type == TimeEmbedding::learned; }

  // A learned embedding has a row a timestep, and nothing between two rows.
  void check_timesteps(const Sampler& sampler) const {
    if (!learned_times()) return;
    const int64_t rows = *pipeline_.denoiser.unet.config.num_train_timesteps;
    for (double t : sampler.timesteps())
      check(t == std::floor(t) && t >= 0 && t < static_cast<double>(rows),
            "{} in {} steps asks for timestep {}, but the network's time_embedding_type is \"learned\": it knows 0, 1, "
            "... {}",
            scheduler_.class_name, steps_, t, rows - 1);
  }

  void check_image() const {
    const Tensor& image = options_.init_image;
    check(!options_.invert || image, "inversion needs an image to begin with");
    if (!image) return;
    check(image.shape() == shape_, "image-to-image: the image is {}, expected f32{}", describe(image),
          to_string(shape_));
    check(!options_.invert || (scheduler_.class_name == "DDIMScheduler" && options_.step.eta.value_or(0) == 0),
          "inversion is walked back by DDIM (--sampler ddim) without noise of its own, not by {} with eta {}",
          scheduler_.class_name, options_.step.eta.value_or(0));
  }

  Tensor labels(int64_t begin, int64_t end) const {
    if (options_.classes.empty()) return {};
    return Tensor::of({end - begin}, std::span<const int64_t>(options_.classes).subspan(begin, end - begin));
  }

  BatchNoise noise(int64_t begin, int64_t end, std::shared_ptr<int64_t> step) const {
    const Shape shape{end - begin, shape_[0], shape_[1], shape_[2]};
    if (!options_.noise_file.empty()) return noise_from_file(options_.noise_file, shape, step);
    if (options_.interpolate) return interpolated(begin, shape);
    return seeded_noise(options_.rng, {options_.seeds.begin() + begin, options_.seeds.begin() + end}, shape);
  }

  BatchNoise interpolated(int64_t begin, const Shape& shape) const {
    const Interpolation& between = *options_.interpolate;
    const double last = std::max<double>(1, static_cast<double>(between.count - 1));
    std::vector<double> at;
    for (int64_t n = begin; n < begin + shape[0]; ++n) at.push_back(static_cast<double>(n) / last);
    return interpolated_noise(options_.rng, between.from, between.to, at, shape);
  }

  Predict predictor(const Tensor& label) const {
    LabelledPredict network = [this](const Var& x, double t, const Tensor& classes) {
      const Dtype dtype = learned_times() ? Dtype::i64 : Dtype::f32;
      return pipeline_.denoiser(x, Tensor::full({x.dim(0)}, t, dtype, x.value().device()), classes);
    };
    if (!label) return [network](const Var& x, double t) { return network(x, t, {}); };
    const auto& conditioning = pipeline_.denoiser.conditioning;
    const int64_t none = options_.guidance_scale != 1 ? conditioning.no_label() : 0;
    return classifier_free(network, label, none, options_.guidance_scale);
  }

  void guide(SamplingOptions& how, const Sampler& sampler, double share) const {
    LossGuidance guidance = options_.guide;
    if (!guidance.loss) return;
    guidance.scale *= share;
    stipple::guide(how, guidance, sampler);
  }

  Tensor draw(int64_t begin, int64_t end) {
    auto step = std::make_shared<int64_t>(0);
    const auto sampler = make_sampler(scheduler_.class_name, scheduler_, steps_, options_.step);
    const Device device = pipeline_.parameters.device();
    const Predict predict = predictor(labels(begin, end).to(device));
    const BatchNoise random = on(device, noise(begin, end, step));
    SamplingOptions how;
    how.cancelled = options_.cancelled;
    how.on_step = [&](size_t index, size_t total, StepResult& result) {
      report(*sampler, index, static_cast<int64_t>(total), *step, result);
      ++*step;
    };
    guide(how, *sampler, static_cast<double>(end - begin) / static_cast<double>(count_));
    if (!options_.init_image) return sample(*sampler, predict, random.start, random.steps, how);
    const Tensor image = repeated(options_.init_image, end - begin).to(device);
    if (options_.invert) return reconstruct(*sampler, predict, image, how);
    how.image = image;
    how.first = first_timestep(*sampler, options_.strength);
    return sample(*sampler, predict, random.start, random.steps, how);
  }

  Tensor reconstruct(Sampler& sampler, const Predict& predict, const Tensor& image, const SamplingOptions& how) const {
    const auto inverse = make_sampler("ddim-inverse", scheduler_, steps_);
    const Tensor start = sample(*inverse, predict, image, nullptr, {.cancelled = how.cancelled});
    return start ? sample(sampler, predict, start, nullptr, how) : start;
  }

  void report(const Sampler& sampler, size_t index, int64_t total, int64_t step, const StepResult& result) {
    const auto done = static_cast<int64_t>(index) + 1;
    if (!options_.trajectory_file.empty()) remember(step, result);
    if (options_.watch)
      options_.watch(sampler.scale_model_input(result.sample, index + 1).value().to(Device::cpu),
                     result.clean.to(Device::cpu), done, total);
    if (options_.on_step) options_.on_step(batch_ * total + done, batches_ * total);
  }

  void remember(int64_t step, const StepResult& result) {
    trajectory_.emplace_back(fmt::format("step.{:03}", step), to_channels_first(result.sample.to(Device::cpu)));
    trajectory_.emplace_back(fmt::format("x0.{:03}", step), to_channels_first(result.clean.to(Device::cpu)));
  }

  Pipeline& pipeline_;
  const GenerateOptions& options_;
  Shape shape_;  // of an image
  int64_t steps_, count_, batch_ = 0, batches_ = 1;
  SchedulerConfig scheduler_;
  std::vector<std::pair<std::string, Tensor>> trajectory_;
};

}  // namespace

int64_t image_count(const GenerateOptions& o) {
  if (!o.noise_file.empty()) return noise_count(o.noise_file);
  return o.interpolate ? o.interpolate->count : static_cast<int64_t>(o.seeds.size());
}

Shape image_shape(const Pipeline& pipeline, const GenerateOptions& o) {
  const UNet2DConfig& unet = pipeline.denoiser.unet.config;
  check((o.height && o.width) || unet.sample_height,
        "the network's config says no sample_size: give --height and --width");
  const int64_t height = o.height ? o.height : *unet.sample_height, width = o.width ? o.width : *unet.sample_width;
  unet.check_size(height, width);
  return {height, width, pipeline.denoiser.image_channels()};
}

SchedulerConfig scheduler_of(const Pipeline& pipeline, const GenerateOptions& o) {
  const SchedulerConfig& own = pipeline.scheduler;
  SchedulerConfig config = own.as(scheduler_class(o.sampler.empty() ? own.class_name : o.sampler));
  for (const auto& [key, value] : o.scheduler) config.set(key, value, "sampler");
  for (const auto& [key, value] : o.scheduler) config.check_used(key, "sampler");
  config.check("sampler");
  return config;
}

void check_generate(Pipeline& pipeline, const GenerateOptions& options) { Generation(pipeline, options); }

Tensor generate(Pipeline& pipeline, const GenerateOptions& options) { return Generation(pipeline, options).run(); }

}  // namespace stipple
