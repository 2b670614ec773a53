#include "diffusion/training/train.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/command.h"
#include "apps/number_flags.h"
#include "apps/progress.h"

namespace stipple {
namespace {

struct TrainCommand {
  CommonOptions common;
  TrainOptions train;
  std::string class_conditioning, save_dtype = "f32";
  bool center_crop = false;
};

void add_data_flags(CLI::App& c, TrainCommand& o) {
  c.add_option("--data", o.train.data,
               "folder of pictures, IDX or CIFAR-10 files; or mnist, fashion-mnist, cifar10, glyphs");
  c.add_option("--replay", o.train.replay, "instead of --data: safetensors with prepared batches, one step each");
  c.add_option("--resolution", o.train.dataset.resolution,
               "side of the pictures (default: the network's; the set's own where all are alike)")
      ->check(CLI::Range(1, 4096));
  c.add_flag("--center-crop", o.center_crop, "crop the middle instead of a random window");
  c.add_flag("--random-flip", o.train.random_flip, "mirror every other picture left to right");
  c.add_flag("--skip-bad", o.train.dataset.skip_bad, "go on without pictures that cannot be read");
  c.add_option("--cache-dir", o.train.dataset.cache_dir, "where decoded pictures go when memory is too small for them");
}

void add_network_flags(CLI::App& c, TrainCommand& o) {
  c.add_option("--from", o.train.from, "pipeline folder to fine-tune");
  c.add_option("--variant", o.train.variant, "its weights of this kind, e.g. fp16 or ema")->needs("--from");
  c.add_option("--config", o.train.config, "config.json of a new U-Net (default: derived from the resolution)")
      ->excludes("--from");
  c.add_option("--class-conditioning", o.class_conditioning,
               "how classes enter: none, embedding, channels (not for diffusers)")
      ->check(CLI::IsMember({"none", "embedding", "channels"}));
  c.add_option("--class-planes", o.train.class_planes, "planes of class conditioning by channels (default 4)")
      ->check(CLI::Range(1, 1024));
  c.add_option("--label-dropout", o.train.steps.label_dropout, "share of labels left out, for --guidance-scale later")
      ->check(number_from_0_to_1())
      ->capture_default_str();
}

// A new noise schedule. Which of its keys were given is remembered: a checkpoint may contradict them.
void add_schedule_flags(CLI::App& c, SchedulerConfig& to) {
  const auto remember = [&to](const char* key) { return [&to, key](const std::string&) { to.given.insert(key); }; };
  c.add_option("--ddpm-num-steps", to.num_train_timesteps, "timesteps of a new noise schedule")
      ->check(CLI::Range(1, 1000000))
      ->each(remember("num_train_timesteps"))
      ->excludes("--from")
      ->capture_default_str();
  c.add_option("--ddpm-beta-schedule", to.beta_schedule, "linear, scaled_linear, squaredcos_cap_v2, sigmoid")
      ->each(remember("beta_schedule"))
      ->excludes("--from")
      ->capture_default_str();
  c.add_option("--prediction-type", to.prediction_type, "epsilon, sample, v_prediction")
      ->each(remember("prediction_type"))
      ->excludes("--from")
      ->capture_default_str();
}

void add_step_flags(CLI::App& c, TrainCommand& o) {
  const auto positive = CLI::Range(int64_t{1}, int64_t{1} << 40);
  c.add_option("--train-batch-size", o.train.train_batch_size, "pictures a micro-batch")
      ->check(positive)
      ->capture_default_str();
  c.add_option("--gradient-accumulation-steps", o.train.steps.gradient_accumulation_steps, "micro-batches a step")
      ->check(positive)
      ->capture_default_str();
  c.add_option("--num-epochs", o.train.steps.num_epochs, "times every picture is seen")
      ->check(positive)
      ->capture_default_str();
  c.add_option("--max-train-steps", o.train.steps.max_train_steps, "optimizer steps, whatever the epochs")
      ->check(positive);
  add_mixed_precision(c, o.train.mixed_precision);
  c.add_flag("--gradient-checkpointing", o.train.gradient_checkpointing,
             "recompute activations: less memory, more time");
}

void add_optimizer_flags(CLI::App& c, OptimizerOptions& p) {
  c.add_option("--learning-rate", p.learning_rate)->check(number_of_0_or_more())->capture_default_str();
  c.add_option("--lr-scheduler", p.schedule.name,
               "constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial")
      ->capture_default_str();
  c.add_option("--lr-warmup-steps", p.schedule.warmup_steps)->check(number_of_0_or_more())->capture_default_str();
  c.add_option("--adam-beta1", p.adam.beta1)->check(number_from_0_to_below_1())->capture_default_str();
  c.add_option("--adam-beta2", p.adam.beta2)->check(number_from_0_to_below_1())->capture_default_str();
  c.add_option("--adam-weight-decay", p.adam.weight_decay)->check(number_of_0_or_more())->capture_default_str();
  c.add_option("--adam-epsilon", p.adam.eps)->check(number_of_0_or_more())->capture_default_str();
  c.add_option("--max-grad-norm", p.max_grad_norm, "gradients are scaled down to this norm; 0: never")
      ->check(number_of_0_or_more())
      ->capture_default_str();
  c.add_flag("--use-ema", p.use_ema, "keep a moving average of the weights; it is what unet/ will hold");
  c.add_option("--ema-inv-gamma", p.ema.inv_gamma)->check(number_above_0())->needs("--use-ema")->capture_default_str();
  c.add_option("--ema-power", p.ema.power)->check(number_above_0())->needs("--use-ema")->capture_default_str();
  c.add_option("--ema-max-decay", p.ema.max_decay)
      ->check(number_from_0_to_1())
      ->needs("--use-ema")
      ->capture_default_str();
}

void add_output_flags(CLI::App& c, TrainCommand& o) {
  const auto count = CLI::Range(int64_t{0}, int64_t{1} << 40);
  c.add_option("--out,--output-dir", o.train.output_dir, "folder for the pipeline and everything on the way")
      ->required();
  add_save_dtype(c, o.save_dtype);
  c.add_flag("--overwrite-output-dir", o.train.overwrite_output_dir, "replace the run that the folder holds");
  c.add_option("--checkpointing-steps", o.train.checkpointing_steps, "a checkpoint every so many steps; 0: none")
      ->check(count)
      ->capture_default_str();
  c.add_option("--checkpoints-total-limit", o.train.checkpoints_total_limit, "keep only so many (default: all)")
      ->check(count);
  c.add_option("--resume-from-checkpoint", o.train.resume_from_checkpoint, "a checkpoint's folder, or latest")
      ->excludes("--overwrite-output-dir");
  c.add_option("--save-images-epochs", o.train.save_images_epochs,
               "a sample grid every so many epochs; 0: at the end only")
      ->check(count)
      ->capture_default_str();
  c.add_option("--save-images-steps", o.train.save_images_steps, "a sample grid every so many steps instead")
      ->check(count);
  c.add_option("--sample-count", o.train.sample_count, "pictures of a grid; 0: no grids")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  c.add_option("--sample-steps", o.train.sample_steps, "DDIM steps of a grid")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  c.add_option("--sample-guidance-scale", o.train.sample_guidance_scale, "classifier-free guidance of a grid")
      ->check(any_number())
      ->capture_default_str();
}

void check_grid_flags(const CLI::App& c, const TrainCommand& o) {
  if (o.train.sample_count > 0) return;
  for (const char* flag : {"--sample-steps", "--sample-guidance-scale", "--save-images-steps"})
    if (c.count(flag)) fail_usage("{}: with --sample-count 0 there are no grids", flag);
}

void check_flags(const TrainCommand& o) {
  if (o.train.data.empty() == o.train.replay.empty()) fail_usage("train: give either --data or --replay");
  check_learning_rate_schedule(o.train.optimizer.schedule.name);
}

void run(TrainCommand& o) {
  check_flags(o);
  o.common.apply();
  o.train.seed = o.common.seed;
  o.train.device = o.common.device();
  o.train.save_dtype = save_dtype(o.save_dtype);
  o.train.dataset.fit = o.center_crop ? Fit::center_crop : Fit::random_crop;
  if (!o.class_conditioning.empty()) o.train.class_conditioning = class_conditioning(o.class_conditioning);
  std::optional<Progress> reading;
  o.train.dataset.progress = [&](int64_t done, int64_t total) {
    if (!reading && done < total) reading.emplace("reading pictures");
    if (reading) reading->update(done, total);
  };
  Progress progress("training");
  StepReport last;
  TrainWatch watch;
  watch.say = [&](const std::string& line) { progress.say(line); };
  watch.on_step = [&](const StepReport& r, int64_t total) {
    progress.update(r.step, total, fmt::format("loss {:.4f}", r.loss));
    last = r;
  };
  watch.interrupted = interrupted;
  const TrainEnd end = train(o.train, watch);
  if (end == TrainEnd::interrupted) throw Interrupted{};
  if (o.common.json) {
    const nlohmann::ordered_json j{{"out", o.train.output_dir}, {"steps", last.step}, {"loss", last.loss}};
    std::printf("%s\n", j.dump().c_str());
  } else {
    progress.say(fmt::format("the pipeline is in {0}; draw with it: stipple sample --model {0} --out grid.png",
                             o.train.output_dir));
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto o = std::make_shared<TrainCommand>();
  CLI::App* command = app.add_subcommand("train", "train a diffusion model on pictures, or fine-tune one");
  add_data_flags(*command, *o);
  add_network_flags(*command, *o);
  add_schedule_flags(*command, o->train.scheduler);
  add_step_flags(*command, *o);
  add_optimizer_flags(*command, o->train.optimizer);
  add_output_flags(*command, *o);
  o->common.add_to(*command, true, true);
  command->callback([o, command] {
    check_grid_flags(*command, *o);
    run(*o);
  });
}

}  // namespace stipple
