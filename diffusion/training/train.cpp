#include "diffusion/training/train.h"

#include <utility>

#include "diffusion/image/encode.h"
#include "diffusion/image/plot.h"
#include "diffusion/training/output_folder.h"
#include "diffusion/training/prepared_run.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

class Run {
 public:
  Run(const TrainOptions& o, const TrainWatch& watch)
      : options_(o),
        watch_(watch),
        run_(o, watch),
        dir_(make_output_folder(o)),
        metrics_((dir_ / "metrics.jsonl").string(), run_.trainer->steps()) {}

  TrainEnd operator()() {
    interrupted();  // asked once: from here on Ctrl-C waits for the end of a step, which is then saved
    while (steps() < run_.total_steps) {
      take_step();
      if (interrupted()) return stop();
    }
    return finish();
  }

 private:
  int64_t steps() const { return run_.trainer->steps(); }
  bool interrupted() const { return watch_.interrupted && watch_.interrupted(); }

  void take_step() {
    const StepReport report = step_report();
    metrics_.append(report);
    if (watch_.on_step) watch_.on_step(report, run_.total_steps);
    const int64_t every = options_.checkpointing_steps;
    if (every && report.step % every == 0) save_checkpoint();
    if (samples_due(report.step)) save_samples();
  }

  StepReport step_report() try {
    const int64_t step = steps();
    StepReport report =
        run_.trainer->step(run_.source->micro_batches(step), [&](int64_t i) { return run_.source->make(step, i); });
    report.epoch = run_.source->epoch(report.step);
    return report;
  } catch (NotFinite& diverged) {
    diverged.report.epoch = run_.source->epoch(diverged.report.step);
    metrics_.append(diverged.report);
    throw;
  }

  // On the way; the last grid is drawn when everything else is done.
  bool samples_due(int64_t step) const {
    if (!run_.draws() || step == run_.total_steps) return false;
    if (options_.save_images_steps) return step % options_.save_images_steps == 0;
    const int64_t epochs = options_.save_images_epochs;
    const auto whole = [&](int64_t at) { return static_cast<int64_t>(run_.source->epoch(at)); };
    return epochs && whole(step) / epochs > whole(step - 1) / epochs;
  }

  bool save_samples() {  // false: interrupted
    const auto grid = draw_samples(*run_.pipeline, *run_.trainer, run_.grid());
    if (!grid) return false;
    fs::create_directory(dir_ / "samples");
    if (run_.trainer->ema() && !std::exchange(said_sides_, true))
      watch_.say(fmt::format("{}: the raw weights' pictures on the left, their moving average's on the right",
                             (dir_ / "samples").string()));
    write_png(dir_ / "samples" / fmt::format("step-{:06}.png", steps()), *grid);
    return true;
  }

  void save_checkpoint() {
    run_.trainer->check_weights();
    stipple::save_checkpoint(checkpoint_folder(dir_, steps()), *run_.pipeline, *run_.trainer, run_.noise,
                             run_.settings);
    if (options_.checkpoints_total_limit) prune_checkpoints(dir_, options_.checkpoints_total_limit);
    plot();
  }

  void plot() const {
    if (!metrics_.losses().empty()) plot_loss(dir_ / "loss.png", metrics_.losses(), "training loss");
  }

  TrainEnd stop() {
    save_checkpoint();
    watch_.say(fmt::format("interrupted: step {} is saved; go on with --resume-from-checkpoint latest", steps()));
    return TrainEnd::interrupted;
  }

  // Weights that --save-dtype cannot hold are kept all the same: resuming saves them in another type.
  void save_pipeline() try {
    run_.pipeline->save(dir_.string(), run_.trainer->best_weights(), options_.save_dtype);
  } catch (const Error& refused) {
    if (options_.save_dtype == Dtype::f32) throw;
    save_checkpoint();
    fail("{}; step {} is saved: --resume-from-checkpoint latest --save-dtype f32", refused.what(), steps());
  }

  void tell_of_diffusers() const {
    const ClassConditioning kind = run_.pipeline->denoiser.conditioning.kind;
    if (kind == ClassConditioning::embedding)
      watch_.say(
          "notice: diffusers loads this pipeline, but its DDPMPipeline asks for no class and cannot draw with it; "
          "there, hand class_labels to the unet yourself");
    if (kind == ClassConditioning::channels)
      watch_.say(
          "notice: diffusers loads this network, but cannot draw with it: classes as channels are this program's own; "
          "--class-conditioning embedding is diffusers' way");
  }

  // What took hours is saved before anything else is tried.
  TrainEnd finish() {
    run_.trainer->check_weights();
    plot();
    save_pipeline();
    tell_of_diffusers();
    if (!run_.draws() || save_samples()) return TrainEnd::finished;
    watch_.say("interrupted: the pipeline is saved, the last grid of samples is not drawn");
    return TrainEnd::interrupted;
  }

  const TrainOptions& options_;
  const TrainWatch& watch_;
  PreparedRun run_;  // first all checks, then the folder
  fs::path dir_;
  Metrics metrics_;
  bool said_sides_ = false;
};

}  // namespace

TrainEnd train(const TrainOptions& options, const TrainWatch& watch) { return Run(options, watch)(); }

}  // namespace stipple
