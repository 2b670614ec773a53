#include "diffusion/training/train.h"

#include <algorithm>

#include "diffusion/derive_unet.h"
#include "diffusion/image/encode.h"
#include "diffusion/image/plot.h"
#include "diffusion/training/checkpoint.h"
#include "diffusion/training/output_folder.h"
#include "diffusion/training/sample_grid.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kNoiseStream = uint64_t{1} << 60;  // offset of the run's noise, far from the initial weights'

class Run {
 public:
  Run(const TrainOptions& o, const TrainWatch& watch) : options_(o), watch_(watch), noise_(o.seed, kNoiseStream) {}

  TrainEnd operator()() {
    resume_ = check_output_folder(options_, watch_);
    open_network_and_data();
    open_batches();
    open_trainer();
    make_output_folder(options_);
    check_disk_space(options_, *pipeline_, total_, watch_);
    Metrics metrics((dir() / "metrics.jsonl").string(), trainer_->steps());
    while (trainer_->steps() < total_) {
      take_step(metrics);
      if (watch_.interrupted && watch_.interrupted()) return stop(metrics);
    }
    finish(metrics);
    return TrainEnd::finished;
  }

 private:
  fs::path dir() const { return options_.output_dir; }

  void say_all(const std::vector<std::string>& notices) const {
    for (const std::string& notice : notices) watch_.say("notice: " + notice);
  }

  // The network decides what the pictures must be like, where it is given; otherwise they decide about the network.
  void open_network_and_data() {
    std::vector<std::string> notices;
    if (resume_) pipeline_ = Pipeline::load(resume_->string(), notices);
    else if (!options_.from.empty()) pipeline_ = Pipeline::load(options_.from, notices);
    std::optional<UNet2DConfig> config;
    if (!pipeline_ && !options_.config.empty())
      config = UNet2DConfig::from_json(read_file(options_.config), options_.config, notices);
    say_all(notices);
    if (options_.replay.empty()) open_data(config);
    else check(pipeline_ || config, "--replay needs a network: give --from or --config");
    if (!pipeline_) build_network(config);
    check_conditioning();
    pipeline_->denoiser.unet.set_gradient_checkpointing(options_.gradient_checkpointing);
    watch_.say(fmt::format("network: {} parameters, {}", pipeline_->parameters.count(),
                           summary(pipeline_->denoiser.unet.config)));
  }

  void open_data(const std::optional<UNet2DConfig>& config) {
    DatasetOptions o = options_.dataset;
    const UNet2DConfig* network = pipeline_ ? &pipeline_->denoiser.unet.config : config ? &*config : nullptr;
    if (network) {
      if (!o.resolution) o.resolution = network->sample_height.value_or(0);
      o.channels = pipeline_ ? pipeline_->denoiser.image_channels() : network->out_channels;
    }
    Dataset data = open_dataset(options_.data, o);
    say_all(data.notices);
    watch_.say(fmt::format("data: {} pictures of {}x{}, {}", data.size(), data.height, data.width,
                           data.channels == 1 ? "grey" : "RGB"));
    if (network) network->check_size(data.height, data.width);
    loader_.emplace(std::move(data), LoaderOptions{.batch_size = options_.train_batch_size,
                                                   .seed = options_.seed,
                                                   .random_flip = options_.random_flip});
  }

  void build_network(const std::optional<UNet2DConfig>& given) {
    UNet2DConfig config = given ? *given : derive_unet(loader_->dataset().height, loader_->dataset().channels);
    if (!given) watch_.say("network: derived from the resolution (--config or --from choose another)");
    if (loader_) config.sample_height = loader_->dataset().height, config.sample_width = loader_->dataset().width;
    const ConditioningConfig conditioning = new_conditioning(config);
    if (conditioning.kind == ClassConditioning::embedding) {
      config.class_embedding = ClassEmbedding::table;
      config.num_class_embeds = conditioning.rows();
    } else if (conditioning.kind == ClassConditioning::channels && config.in_channels == config.out_channels) {
      config.in_channels += conditioning.planes;
    }
    pipeline_ = std::make_unique<Pipeline>(config, conditioning, options_.scheduler);
    PhiloxGenerator initial(options_.seed);
    pipeline_->parameters.initialize(initial);
  }

  // A config that embeds classes asks for them as the flag does.
  ConditioningConfig new_conditioning(const UNet2DConfig& config) const {
    const bool embeds = config.class_embedding == ClassEmbedding::table;
    ConditioningConfig c;
    c.kind = options_.class_conditioning.value_or(embeds ? ClassConditioning::embedding : ClassConditioning::none);
    check(!embeds || c.kind == ClassConditioning::embedding, "--class-conditioning {}: {} has num_class_embeds, which is "
          "embedding", name_of(c.kind), options_.config);
    if (c.kind == ClassConditioning::none) return c;
    c.planes = options_.class_planes;
    c.label_dropout = options_.steps.label_dropout > 0;
    if (loader_) {
      check(loader_->dataset().labelled(), "--class-conditioning {}: the pictures of {} have no labels", name_of(c.kind),
            options_.data);
      c.classes = loader_->dataset().classes();
      c.class_names = loader_->dataset().class_names;
    } else {
      c.classes = config.num_class_embeds.value_or(0) - c.label_dropout;
      check(c.classes >= 1, "--replay with class conditioning needs a config with num_class_embeds, or --from");
    }
    return c;
  }

  void check_conditioning() const {
    const ConditioningConfig& c = pipeline_->denoiser.conditioning;
    check(!options_.class_conditioning || *options_.class_conditioning == c.kind,
          "--class-conditioning {}: the pipeline's is {}", name_of(options_.class_conditioning.value_or(c.kind)),
          name_of(c.kind));
    check(options_.steps.label_dropout == 0 || c.label_dropout,
          "--label-dropout: the network has no row for \"no label\" ({} classes)", c.classes);
    if (c.kind == ClassConditioning::none || !loader_) return;
    check(loader_->dataset().labelled(), "the network is conditioned on classes, but the pictures of {} have no labels",
          options_.data);
    check(loader_->dataset().classes() <= c.classes, "{} has {} classes, the network knows {}", options_.data,
          loader_->dataset().classes(), c.classes);
  }

  void open_batches() {
    const ConditioningConfig& conditioning = pipeline_->denoiser.conditioning;
    DataSourceOptions o = options_.steps;
    o.dropout = pipeline_->denoiser.unet.config.dropout > 0;
    if (loader_) source_ = data_source(*loader_, conditioning, pipeline_->scheduler.num_train_timesteps, o, noise_);
    else source_ = replay_source(options_.replay, conditioning);
    total_ = source_->total_steps();
  }

  void open_trainer() {
    OptimizerOptions o = options_.optimizer;
    o.schedule.total_steps = total_;
    o.schedule.learning_rate = o.learning_rate;
    trainer_.emplace(*pipeline_, o);
    if (!resume_) return;
    const RunIdentity saved = load_checkpoint(*resume_, *pipeline_, *trainer_, noise_);
    watch_.say(fmt::format("resuming {} at step {}", resume_->string(), trainer_->steps()));
    if (!(saved == identity()))
      watch_.say("notice: the checkpoint was made with another seed, batch size or data set: the run goes on, but not with "
                 "the same bits as one that was never stopped");
  }

  RunIdentity identity() const {
    return {options_.seed, options_.train_batch_size, options_.steps.gradient_accumulation_steps,
            loader_ ? loader_->dataset().size() : 0};
  }

  void take_step(Metrics& metrics) {
    const int64_t step = trainer_->steps();
    StepReport report;
    try {
      report = trainer_->step(source_->micro_batches(step), [&](int64_t i) { return source_->make(step, i); });
    } catch (const NotFinite& diverged) {
      metrics.append(diverged.report);
      throw;
    }
    report.epoch = source_->epoch(report.step);
    metrics.append(report);
    if (watch_.on_step) watch_.on_step(report, total_);
    const int64_t every = options_.checkpointing_steps;
    if (every && report.step % every == 0) save(report.step, metrics);
    if (samples_due(report.step)) save_samples(report.step);
  }

  bool samples_due(int64_t step) const {
    if (options_.sample_count == 0 || options_.replay.size()) return false;
    if (step == total_) return true;
    if (options_.save_images_steps) return step % options_.save_images_steps == 0;
    const int64_t epochs = options_.save_images_epochs;
    return epochs && static_cast<int64_t>(source_->epoch(step)) / epochs > static_cast<int64_t>(source_->epoch(step - 1)) / epochs;
  }

  void save_samples(int64_t step) {
    const auto grid = draw_samples(*pipeline_, *trainer_, {.count = options_.sample_count,
                                                           .steps = options_.sample_steps,
                                                           .resolution = loader_->dataset().height,
                                                           .guidance_scale = options_.sample_guidance_scale,
                                                           .cancelled = watch_.interrupted});
    if (!grid) return;
    fs::create_directory(dir() / "samples");
    write_png(dir() / "samples" / fmt::format("step-{:06}.png", step), *grid);
  }

  void save(int64_t step, const Metrics& metrics) {
    save_checkpoint(checkpoint_folder(dir(), step), *pipeline_, *trainer_, noise_, identity());
    if (options_.checkpoints_total_limit) prune_checkpoints(dir(), options_.checkpoints_total_limit);
    plot(metrics);
  }

  void plot(const Metrics& metrics) const {
    if (!metrics.losses().empty()) plot_loss(dir() / "loss.png", metrics.losses(), "training loss");
  }

  TrainEnd stop(const Metrics& metrics) {
    save(trainer_->steps(), metrics);
    watch_.say(fmt::format("interrupted: step {} is saved; go on with --resume-from-checkpoint latest", trainer_->steps()));
    return TrainEnd::interrupted;
  }

  void finish(const Metrics& metrics) {
    plot(metrics);
    pipeline_->save(dir().string(), trainer_->best_weights(), options_.save_dtype);
  }

  const TrainOptions& options_;
  const TrainWatch& watch_;
  std::optional<fs::path> resume_;
  std::unique_ptr<Pipeline> pipeline_;
  std::optional<Loader> loader_;
  PhiloxGenerator noise_;
  std::unique_ptr<BatchSource> source_;
  std::optional<Trainer> trainer_;
  int64_t total_ = 0;
};

}  // namespace

TrainEnd train(const TrainOptions& options, const TrainWatch& watch) { return Run(options, watch)(); }

}  // namespace stipple
