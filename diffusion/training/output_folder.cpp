#include "diffusion/training/output_folder.h"

#include <algorithm>

#include "diffusion/training/checkpoint.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOwnEntries[] = {"metrics.jsonl", "loss.png",     "samples",   "model_index.json",
                                       "unet",          "scheduler",    "conditioning"};

bool holds_a_run(const fs::path& dir) {
  return fs::exists(dir / "metrics.jsonl") || fs::exists(dir / "model_index.json") || !list_checkpoints(dir).empty();
}

void remove_run(const fs::path& dir) {
  for (const char* entry : kOwnEntries) fs::remove_all(dir / entry);
  for (const fs::path& checkpoint : list_checkpoints(dir)) fs::remove_all(checkpoint);
}

// What a run that was killed while it wrote left behind.
void remove_temporaries(const fs::path& dir) {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().filename().string().starts_with(".stipple-")) stale.push_back(entry.path());
  for (const fs::path& path : stale) fs::remove_all(path);
}

std::string in_mebibytes(int64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

std::optional<fs::path> checkpoint_to_resume(const TrainOptions& o, const TrainWatch& watch) {
  if (o.resume_from_checkpoint != "latest") {
    check(fs::is_directory(o.resume_from_checkpoint), "--resume-from-checkpoint: there is no folder '{}'",
          o.resume_from_checkpoint);
    return o.resume_from_checkpoint;
  }
  const auto all = list_checkpoints(o.output_dir);
  if (!all.empty()) return all.back();
  watch.say(fmt::format("notice: {} holds no checkpoint; starting at step 0", o.output_dir));
  return {};
}

}  // namespace

std::optional<fs::path> check_output_folder(const TrainOptions& o, const TrainWatch& watch) {
  const fs::path dir = fs::path(o.output_dir).lexically_normal();
  const fs::path parent = (dir.has_filename() ? dir : dir.parent_path()).parent_path();
  check(parent.empty() || fs::is_directory(parent), "--out {}: the folder {} does not exist", o.output_dir,
        parent.string());
  check(!fs::exists(dir) || fs::is_directory(dir), "--out {}: is not a folder", o.output_dir);
  if (!o.resume_from_checkpoint.empty()) return checkpoint_to_resume(o, watch);
  check(o.overwrite_output_dir || !holds_a_run(dir),
        "--out {}: holds a training run already; go on with --resume-from-checkpoint latest, or replace it with "
        "--overwrite-output-dir", o.output_dir);
  return {};
}

void make_output_folder(const TrainOptions& o) {
  const fs::path dir = o.output_dir;
  if (o.overwrite_output_dir) remove_run(dir);
  std::error_code error;
  fs::create_directory(dir, error);
  check(!error, "--out {}: cannot be created: {}", o.output_dir, error.message());
  remove_temporaries(dir);
}

void check_disk_space(const TrainOptions& o, const Pipeline& pipeline, int64_t total_steps, const TrainWatch& watch) {
  const int64_t each = checkpoint_bytes(pipeline, o.optimizer.use_ema);
  int64_t count = o.checkpointing_steps ? total_steps / o.checkpointing_steps : 0;
  // A new one is written before the oldest is deleted.
  if (o.checkpoints_total_limit) count = std::min(count, o.checkpoints_total_limit + 1);
  const int64_t needed = count * each + pipeline_bytes(pipeline);
  const auto free = static_cast<int64_t>(fs::space(o.output_dir).available);
  watch.say(fmt::format("disk: {} checkpoints of {} and the pipeline, {} in all; {} free", count, in_mebibytes(each),
                        in_mebibytes(needed), in_mebibytes(free)));
  check(needed <= free, "--out {}: checkpoints will take {}, the disk has {} free; --checkpoints-total-limit keeps fewer",
        o.output_dir, in_mebibytes(needed), in_mebibytes(free));
}

}  // namespace stipple
