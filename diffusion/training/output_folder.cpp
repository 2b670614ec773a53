#include "diffusion/training/output_folder.h"

#include <algorithm>

#include "diffusion/training/checkpoint.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

const std::string kSamples = "samples";
const std::string kOwnEntries[] = {"metrics.jsonl", "loss.png",  kSamples,      "model_index.json",
                                   "unet",          "scheduler", "conditioning"};

bool holds_a_run(const fs::path& dir) {
  return fs::exists(dir / "metrics.jsonl") || fs::exists(dir / "model_index.json") || !list_checkpoints(dir).empty();
}

// What the run would replace though no run wrote it: somebody else's.
void check_nothing_foreign(const fs::path& dir) {
  if (holds_a_run(dir)) return;
  for (const std::string& entry : kOwnEntries)
    check(!fs::exists(dir / entry),
          "--out {}: holds no training run, but {}, which the run would write; choose another folder, or replace it "
          "with --overwrite-output-dir",
          dir.string(), entry);
}

bool is_grid(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.starts_with("step-") && name.ends_with(".png");
}

// In samples/ only the grids are a run's own.
std::vector<fs::path> entries_of_run(const fs::path& dir) {
  std::vector<fs::path> entries = list_checkpoints(dir);
  for (const std::string& entry : kOwnEntries)
    if (entry != kSamples) entries.push_back(dir / entry);
  if (fs::is_directory(dir / kSamples))
    for (const auto& file : fs::directory_iterator(dir / kSamples))
      if (is_grid(file.path())) entries.push_back(file.path());
  return entries;
}

int64_t bytes_of_run(const fs::path& dir) {
  int64_t bytes = 0;
  for (const fs::path& entry : entries_of_run(dir)) {
    if (fs::is_regular_file(entry)) bytes += static_cast<int64_t>(fs::file_size(entry));
    if (!fs::is_directory(entry)) continue;
    for (const auto& file : fs::recursive_directory_iterator(entry))
      if (file.is_regular_file()) bytes += static_cast<int64_t>(file.file_size());
  }
  return bytes;
}

// `data` may be a name that stands for a folder below data/.
void check_outside_data(const std::string& out, const std::string& data) {
  for (const fs::path& folder : {fs::path(data), fs::path("data") / data}) {
    if (data.empty() || !fs::is_directory(folder)) continue;
    check(!lies_in(out, folder.string()),
          "--out {}: lies in the folder of the data, {}, where the run would find its own pictures", out,
          folder.string());
  }
}

// --out may be the folder itself, which then counts as a run, to go on with or to replace.
void check_outside_model(const std::string& out, const std::string& model) {
  if (model.empty() || !fs::is_directory(model) || (fs::exists(out) && fs::equivalent(out, model))) return;
  check(!lies_in(out, model), "--out {}: lies in the folder of the model, {}", out, model);
}

bool overlap(const fs::path& input, const fs::path& removed) {
  return lies_in(input.string(), removed.string()) ||
         (fs::is_directory(input) && lies_in(removed.string(), input.string()));
}

// A run that is killed has written nothing yet that could stand for what it began with.
void check_removes_no_input(const TrainOptions& o) {
  const fs::path network = o.from.empty() ? "" : fs::path(o.from) / "unet";
  const std::pair<const char*, fs::path> inputs[] = {
      {"--from", network}, {"--config", o.config}, {"--data", o.data}, {"--replay", o.replay}};
  for (const fs::path& removed : entries_of_run(o.output_dir))
    for (const auto& [flag, input] : inputs)
      check(input.empty() || !fs::exists(removed) || !overlap(input, removed),
            "--out {}: --overwrite-output-dir would remove what {} names; choose another folder", o.output_dir, flag);
}

// What a run that was killed while it wrote left behind.
void remove_temporaries(const fs::path& dir) {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().filename().string().starts_with(".stipple-")) stale.push_back(entry.path());
  for (const fs::path& path : stale) fs::remove_all(path);
}

fs::path nearest_folder(fs::path folder) {
  for (folder = fs::absolute(folder); !fs::is_directory(folder);) folder = folder.parent_path();
  return folder;
}

// The most checkpoints that are there at one time beyond those that are there now. A new one is written before the
// oldest is deleted.
int64_t new_checkpoints(const TrainOptions& o, int64_t done_steps, int64_t total_steps) {
  const int64_t every = o.checkpointing_steps;
  const int64_t written = every ? total_steps / every - done_steps / every : 0;
  if (written == 0) return 0;
  const auto there = o.overwrite_output_dir ? std::vector<fs::path>{} : list_checkpoints(o.output_dir);
  const int64_t replaced = std::count_if(there.begin(), there.end(), [&](const fs::path& folder) {
    const int64_t step = step_of_checkpoint(folder);
    return step > done_steps && step <= total_steps && step % every == 0;
  });
  int64_t most = written - replaced;
  if (o.checkpoints_total_limit)
    most = std::min(most, o.checkpoints_total_limit + 1 - static_cast<int64_t>(there.size()));
  return std::max<int64_t>(1, most);
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
  check(!o.output_dir.empty(), "--out: the name of a folder is expected, it is empty");
  const fs::path dir = fs::path(o.output_dir).lexically_normal();
  const fs::path parent = (dir.has_filename() ? dir : dir.parent_path()).parent_path();
  check(parent.empty() || fs::is_directory(parent), "--out {}: the folder {} does not exist", o.output_dir,
        parent.string());
  check(!fs::exists(dir) || fs::is_directory(dir), "--out {}: is not a folder", o.output_dir);
  check_outside_data(o.output_dir, o.data);
  check_outside_model(o.output_dir, o.from);
  if (o.overwrite_output_dir)
    check_removes_no_input(o);
  else
    check_nothing_foreign(dir);
  if (!o.resume_from_checkpoint.empty()) return checkpoint_to_resume(o, watch);
  check(o.overwrite_output_dir || !holds_a_run(dir),
        "--out {}: holds a training run already; go on with --resume-from-checkpoint latest, or replace it with "
        "--overwrite-output-dir",
        o.output_dir);
  return {};
}

fs::path make_output_folder(const TrainOptions& o) {
  const fs::path dir = o.output_dir;
  std::error_code error;
  fs::create_directory(dir, error);
  check(!error, "--out {}: cannot be created: {}", o.output_dir, error.message());
  { const AtomicFile probe((dir / "metrics.jsonl").string()); }  // throws where nothing can be written
  if (o.overwrite_output_dir)
    for (const fs::path& entry : entries_of_run(dir)) fs::remove_all(entry);
  remove_temporaries(dir);
  return dir;
}

void check_disk_space(const TrainOptions& o, const Pipeline& pipeline, int64_t done_steps, int64_t total_steps,
                      const TrainWatch& watch) {
  const int64_t each = checkpoint_bytes(pipeline, o.optimizer.use_ema);
  const int64_t count = new_checkpoints(o, done_steps, total_steps);
  const int64_t needed = count * each + pipeline_bytes(pipeline);
  auto free = static_cast<int64_t>(fs::space(nearest_folder(o.output_dir)).available);
  if (o.overwrite_output_dir) free += bytes_of_run(o.output_dir);
  watch.say(fmt::format("disk: {} checkpoint{} of {} and the pipeline, {} in all; {} free", count,
                        count == 1 ? "" : "s", in_mebibytes(each), in_mebibytes(needed), in_mebibytes(free)));
  check(needed <= free, "--out {}: {} will take {}, the disk has {} free{}", o.output_dir,
        count ? "checkpoints" : "the pipeline", in_mebibytes(needed), in_mebibytes(free),
        count > 1 ? "; --checkpoints-total-limit keeps fewer" : "");
}

}  // namespace stipple
