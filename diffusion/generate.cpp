#include "diffusion/generate.h"

#include <algorithm>
#include <cstring>

#include "tensor/layout.h"
#include "tensor/random.h"
#include "tensor/safetensors.h"

namespace stipple {
namespace {

// Where the noise of one batch comes from: the images' own generators, or a file.
struct BatchNoise {
  Tensor start;  // [N, H, W, C]
  NoiseSource steps;
};

Shape channels_first(const Shape& nhwc) { return {nhwc[0], nhwc[3], nhwc[1], nhwc[2]}; }

// Drawn as NCHW, PyTorch's order.
BatchNoise seeded_noise(const std::string& rng, const std::vector<uint64_t>& seeds, const Shape& shape) {
  auto generators = std::make_shared<std::vector<std::unique_ptr<Generator>>>();
  for (uint64_t seed : seeds) generators->push_back(make_generator(rng, seed));
  NoiseSource draw = [generators](const Shape& nhwc) {
    return to_channels_last(normal_per_image(*generators, channels_first(nhwc)));
  };
  return {draw(shape), draw};
}

Tensor load_noise(const SafetensorsFile& file, const std::string& name, const Shape& shape) {
  check(file.contains(name), "{}: tensor '{}' is needed and missing", file.path(), name);
  const Tensor noise = file.load(name);
  check(noise.shape() == channels_first(shape), "{}: tensor '{}' is {}, expected f32{}", file.path(), name,
        describe(noise), to_string(channels_first(shape)));
  return to_channels_last(noise.to(Dtype::f32));
}

// noise.NNN belongs to the NNN-th step, whether the steps before it drew any or not.
BatchNoise noise_from_file(const std::string& path, const Shape& shape, std::shared_ptr<int64_t> step) {
  auto file = std::make_shared<SafetensorsFile>(path);
  return {load_noise(*file, "noise", shape),
          [file, step](const Shape& s) { return load_noise(*file, fmt::format("noise.{:03}", *step), s); }};
}

// diffusers' pipelines default to all of DDPM's steps and to 50 of the others'.
int64_t default_steps(const SchedulerConfig& config) {
  return std::min<int64_t>(config.class_name == "DDPMScheduler" ? 1000 : 50, config.num_train_timesteps);
}

SchedulerConfig scheduler_of(const SchedulerConfig& of_pipeline, const GenerateOptions& o) {
  SchedulerConfig config = of_pipeline.as(scheduler_class(o.sampler.empty() ? of_pipeline.class_name : o.sampler));
  for (const auto& [key, value] : o.scheduler) config.set(key, value, "sampler");
  config.check("sampler");
  return config;
}

// One call of generate(): the checked options and what they mean for this pipeline.
class Generation {
 public:
  Generation(Pipeline& pipeline, const GenerateOptions& o) : pipeline_(pipeline), options_(o) {
    const UNet2DConfig& unet = pipeline.denoiser.unet.config;
    check(o.height || unet.sample_height, "the network's config says no sample_size: give --height and --width");
    height_ = o.height ? o.height : *unet.sample_height;
    width_ = o.width ? o.width : *unet.sample_width;
    unet.check_size(height_, width_);
    scheduler_ = scheduler_of(pipeline.scheduler, o);
    steps_ = o.steps ? o.steps : default_steps(scheduler_);
    count_ = o.noise_file.empty() ? static_cast<int64_t>(o.seeds.size()) : noise_count(o.noise_file);
    check(count_ >= 1, "there is nothing to draw: no seeds and no noise");
    check(o.classes.empty() || static_cast<int64_t>(o.classes.size()) == count_, "{} classes for {} images",
          o.classes.size(), count_);
    check_classes();
    check(o.guidance_scale == 1 || pipeline.denoiser.conditioning.kind != ClassConditioning::none,
          "guidance needs a network that is conditioned on classes; this one is not");
    if (o.guidance_scale != 1) pipeline.denoiser.conditioning.no_label();
  }

  Tensor run() {
    const bool whole = !options_.noise_file.empty() || !options_.trajectory_file.empty();
    const int64_t batch = whole ? count_ : std::max<int64_t>(1, options_.batch_size);
    Tensor images({count_, height_, width_, pipeline_.denoiser.image_channels()});
    batches_ = (count_ + batch - 1) / batch;
    for (int64_t begin = 0; begin < count_; begin += batch, ++batch_) {
      const int64_t end = std::min(count_, begin + batch);
      const Tensor drawn = draw(begin, end);
      if (!drawn) return {};
      images.slice(begin, end).copy_from(drawn);
    }
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

  Tensor labels(int64_t begin, int64_t end) const {
    if (options_.classes.empty()) return {};
    return Tensor::of({end - begin}, std::span<const int64_t>(options_.classes).subspan(begin, end - begin));
  }

  BatchNoise noise(int64_t begin, int64_t end, std::shared_ptr<int64_t> step) const {
    const Shape shape{end - begin, height_, width_, pipeline_.denoiser.image_channels()};
    if (!options_.noise_file.empty()) return noise_from_file(options_.noise_file, shape, step);
    return seeded_noise(options_.rng, {options_.seeds.begin() + begin, options_.seeds.begin() + end}, shape);
  }

  Predict predictor(const Tensor& label) const {
    LabelledPredict network = [this](const Tensor& x, double t, const Tensor& classes) {
      return pipeline_.denoiser(x, Tensor::full({x.dim(0)}, t), classes).value();
    };
    if (!label) return [network](const Tensor& x, double t) { return network(x, t, {}); };
    const auto& conditioning = pipeline_.denoiser.conditioning;
    const int64_t none = options_.guidance_scale != 1 ? conditioning.no_label() : 0;
    return classifier_free(network, label, none, options_.guidance_scale);
  }

  Tensor draw(int64_t begin, int64_t end) {
    const NoGrad no_grad;
    auto step = std::make_shared<int64_t>(0);
    const auto sampler = make_sampler(scheduler_.class_name, scheduler_, steps_, options_.step);
    const BatchNoise random = noise(begin, end, step);
    SamplingOptions watch;
    watch.cancelled = options_.cancelled;
    watch.on_step = [&](size_t index, size_t total, StepResult& result) {
      if (!options_.trajectory_file.empty()) remember(*step, result);
      ++*step;
      const auto steps = static_cast<int64_t>(total);
      if (options_.on_step) options_.on_step(batch_ * steps + static_cast<int64_t>(index) + 1, batches_ * steps);
    };
    return sample(*sampler, predictor(labels(begin, end)), random.start, random.steps, watch);
  }

  void remember(int64_t step, const StepResult& result) {
    trajectory_.emplace_back(fmt::format("step.{:03}", step), to_channels_first(result.sample));
    trajectory_.emplace_back(fmt::format("x0.{:03}", step), to_channels_first(result.clean));
  }

  Pipeline& pipeline_;
  const GenerateOptions& options_;
  int64_t height_, width_, steps_, count_, batch_ = 0, batches_ = 1;
  SchedulerConfig scheduler_;
  std::vector<std::pair<std::string, Tensor>> trajectory_;
};

}  // namespace

int64_t noise_count(const std::string& noise_file) {
  const SafetensorsFile file(noise_file);
  check(file.contains("noise"), "{}: tensor 'noise' is missing", noise_file);
  check(file.shape("noise").rank() == 4, "{}: tensor 'noise' is {}, expected [N,C,H,W]", noise_file,
        to_string(file.shape("noise")));
  return file.shape("noise")[0];
}

Tensor generate(Pipeline& pipeline, const GenerateOptions& options) { return Generation(pipeline, options).run(); }

}  // namespace stipple
