#include "diffusion/training/prepared_run.h"

#include "diffusion/derive_unet.h"
#include "diffusion/training/new_network.h"
#include "diffusion/training/output_folder.h"
#include "diffusion/training/resume.h"
#include "tensor/file.h"

namespace stipple {
namespace {

constexpr uint64_t kNoiseStream = uint64_t{1} << 60;  // offset of the run's noise, far from the initial weights'

}  // namespace

PreparedRun::PreparedRun(const TrainOptions& o, const TrainWatch& watch)
    : noise(o.seed, kNoiseStream), options_(o), watch_(watch) {
  check_mixed_precision(o.mixed_precision, o.device);
  resume_ = check_output_folder(o, watch);
  open_network();
  if (o.replay.empty()) open_data();
  if (!pipeline) build_network();
  check_resumed();
  check_network();
  check_conditioning();
  watch.say(
      fmt::format("network: {} parameters, {}", pipeline->parameters.count(), summary(pipeline->denoiser.unet.config)));
  open_batches();
  open_trainer();
  if (draws()) check_samples(*pipeline, grid());
  check_disk_space(o, *pipeline, trainer->steps(), total_steps, watch);
}

void PreparedRun::say_all(const std::vector<std::string>& notices) const {
  for (const std::string& notice : notices) watch_.say("notice: " + notice);
}

void PreparedRun::open_network() {
  std::vector<std::string> notices;
  if (!options_.config.empty()) config_ = UNet2DConfig::from_json(read_file(options_.config), options_.config, notices);
  if (resume_)
    pipeline = Pipeline::load(resume_->string(), notices);
  else if (!options_.from.empty())
    pipeline = Pipeline::load(options_.from, notices, options_.variant);
  say_all(notices);
}

// The network decides what the pictures must be like, where it is given; otherwise they decide about the network.
void PreparedRun::open_data() {
  DatasetOptions o = options_.dataset;
  UNet2DConfig* network = pipeline ? &pipeline->denoiser.unet.config : config_ ? &*config_ : nullptr;
  if (network) {
    const bool square = network->sample_height == network->sample_width;
    if (!o.resolution && square) o.resolution = network->sample_height.value_or(0);
    o.channels = pipeline ? pipeline->denoiser.image_channels() : network->out_channels;
    check(o.channels == 1 || o.channels == 3,
          "the network draws pictures of {} channels (out_channels); it can be trained on 1 (grey) or 3 (RGB)",
          o.channels);
  }
  Dataset set = open_dataset(options_.data, o);
  say_all(set.notices);
  watch_.say(fmt::format("data: {} picture{} of {}x{}, {}", set.size(), set.size() == 1 ? "" : "s", set.height,
                         set.width, set.channels == 1 ? "grey" : "RGB"));
  loader.emplace(std::move(set), LoaderOptions{.batch_size = options_.train_batch_size,
                                               .seed = options_.seed,
                                               .random_flip = options_.random_flip});
  if (network) fit_sample_size(*network);
}

// A network draws pictures of the size that it was trained on last.
void PreparedRun::fit_sample_size(UNet2DConfig& network) const {
  const int64_t height = data()->height, width = data()->width;
  network.check_size(height, width);
  if (network.sample_height == height && network.sample_width == width) return;
  if (network.sample_height) {
    const std::string said =
        fmt::format("the network's sample_size is {}x{}", *network.sample_height, network.sample_width.value_or(0));
    check(options_.dataset.resolution > 0,
          "{} (height x width), the pictures of {} are {}x{}: --resolution makes them "
          "squares",
          said, options_.data, height, width);
    watch_.say(fmt::format("notice: {}, it becomes {}x{}", said, height, width));
  }
  network.sample_height = height, network.sample_width = width;
}

void PreparedRun::build_network() {
  NewNetwork made = new_network(options_, config_, data());
  if (!config_) {
    watch_.say("network: derived from the resolution (--config or --from choose another)");
    fit_sample_size(made.unet);
  }
  pipeline = std::make_unique<Pipeline>(made.unet, made.conditioning, options_.scheduler);
  PhiloxGenerator initial(options_.seed);
  pipeline->parameters.initialize(initial);
}

void PreparedRun::check_resumed() const {
  if (!resume_) return;
  const UNet2DConfig& saved = pipeline->denoiser.unet.config;
  if (config_) check_same_network(*config_, options_.config, saved);
  std::vector<std::string> said_before;
  if (!options_.from.empty())
    check_same_network(Pipeline::load(options_.from, said_before, options_.variant)->denoiser.unet.config,
                       options_.from, saved);
  check_same_schedule(options_.scheduler, pipeline->scheduler);
}

void PreparedRun::check_network() const {
  const UNet2DConfig& unet = pipeline->denoiser.unet.config;
  check_takes_classes(unet);
  check(unet.out_channels == pipeline->denoiser.image_channels(),
        "the network takes pictures of {} channels and answers {}: only as many can be trained",
        pipeline->denoiser.image_channels(), unet.out_channels);
  check(unet.time_embedding_type != TimeEmbedding::learned ||
            *unet.num_train_timesteps >= pipeline->scheduler.num_train_timesteps,
        "the network embeds {} timesteps, the noise schedule has {}", unet.num_train_timesteps.value_or(0),
        pipeline->scheduler.num_train_timesteps);
}

void PreparedRun::check_conditioning() const {
  const ConditioningConfig& c = pipeline->denoiser.conditioning;
  check(!options_.class_conditioning || *options_.class_conditioning == c.kind,
        "--class-conditioning {}: the pipeline's is {}", name_of(options_.class_conditioning.value_or(c.kind)),
        name_of(c.kind));
  check(!options_.class_planes || c.kind == ClassConditioning::channels,
        "--class-planes {}: it goes with --class-conditioning channels, this run's is {}", *options_.class_planes,
        name_of(c.kind));
  check(!options_.class_planes || *options_.class_planes == c.planes, "--class-planes {}: the pipeline's are {}",
        *options_.class_planes, c.planes);
  check(options_.steps.label_dropout == 0 || c.kind != ClassConditioning::none,
        "--label-dropout {}: the network takes no labels; --class-conditioning gives it some",
        options_.steps.label_dropout);
  check(options_.steps.label_dropout == 0 || c.label_dropout,
        "--label-dropout: the network has no row for \"no label\" ({} classes)", c.classes);
  if (c.kind == ClassConditioning::none || !data()) return;
  check(data()->labelled(), "the network is conditioned on classes, but the pictures of {} have no labels",
        options_.data);
  check(data()->classes() <= c.classes, "{} has {} classes, the network knows {}", options_.data, data()->classes(),
        c.classes);
}

void PreparedRun::open_batches() {
  DataSourceOptions o = options_.steps;
  o.dropout = pipeline->denoiser.unet.config.dropout > 0;
  if (loader)
    source = data_source(*loader, pipeline->denoiser.conditioning, pipeline->scheduler.num_train_timesteps, o, noise);
  else
    source = replay_source(options_.replay, *pipeline);
  total_steps = source->total_steps();
  settings = settings_of(options_, data(), total_steps);
}

void PreparedRun::open_trainer() {
  OptimizerOptions o = options_.optimizer;
  o.schedule.total_steps = total_steps;
  o.schedule.learning_rate = o.learning_rate;
  pipeline->parameters.to(options_.device);
  set_mixed_precision(pipeline->parameters, options_.mixed_precision);
  trainer.emplace(*pipeline, o);
  pipeline->denoiser.unet.set_gradient_checkpointing(options_.gradient_checkpointing);
  if (!resume_) return;
  const std::string changed = changes(load_checkpoint(*resume_, *pipeline, *trainer, noise), settings);
  watch_.say(fmt::format("resuming {} at step {}", resume_->string(), trainer->steps()));
  if (!changed.empty())
    watch_.say(
        fmt::format("notice: the checkpoint was made with {}: the run goes on, but not with the same bits as one "
                    "that was never stopped",
                    changed));
}

SampleGridOptions PreparedRun::grid() const {
  return {.count = options_.sample_count,
          .steps = options_.sample_steps,
          .height = data()->height,
          .width = data()->width,
          .guidance_scale = options_.sample_guidance_scale,
          .cancelled = watch_.interrupted};
}

}  // namespace stipple
