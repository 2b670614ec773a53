#include "tensor/safetensors.h"
#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// What a training run refuses before it touches anything, and what it says about flags that cannot all hold.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

// The old run in FOLDER/run is still there when the new one was refused.
void check_run_kept(const ScratchFolder& folder, const std::vector<std::string>& train, const std::string& reason) {
  INFO(reason);
  check_refused(run_command(train + "--overwrite-output-dir", folder.path()), 1, reason);
  CHECK(fs::exists(folder / "run/model_index.json"));
  CHECK(fs::exists(folder / "run/metrics.jsonl"));
}

void check_train_refused(const ScratchFolder& folder, const std::string& flags, const std::string& reason) {
  INFO(flags);
  check_refused(run_command(tiny_train("run", 1) + flags, folder.path()), 1, reason);
  CHECK_FALSE(fs::exists(folder / "run"));
}

std::string train_well(const std::vector<std::string>& arguments, const ScratchFolder& folder) {
  const CommandResult result = run_command(arguments, folder.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  return result.err;
}

// Two batches for the tiny network; the second has these timesteps and this width.
void write_replay(const std::string& path, const std::vector<int64_t>& timesteps, int64_t width = 8) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (int64_t step : {0, 1}) {
    const Shape shape{2, 1, 8, step ? width : 8};
    const std::vector<int64_t> times = step ? timesteps : std::vector<int64_t>{5, 6};
    tensors.emplace_back(fmt::format("clean.{:03}", step), Tensor::zeros(shape));
    tensors.emplace_back(fmt::format("noise.{:03}", step), Tensor::zeros({2, 1, 8, 8}));
    tensors.emplace_back(fmt::format("timesteps.{:03}", step), Tensor::of({2}, std::span<const int64_t>(times)));
  }
  save_safetensors(path, tensors);
}

std::vector<std::string> replay(const std::string& out) {
  return words("train --config network.json --replay batches.safetensors --checkpointing-steps 0 --out " + out);
}

}  // namespace

TEST_CASE("a sample grid that cannot be drawn is refused before the first step", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  check_train_refused(folder, "--sample-count 4 --class-conditioning embedding --sample-guidance-scale 2",
                      "label dropout");
  check_train_refused(folder, "--sample-count 4 --sample-guidance-scale 2", "guidance");
}

TEST_CASE("the pipeline is saved before the last grid is drawn", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  train_well(tiny_train("run", 1) + "--checkpointing-steps 1", folder);
  fs::remove(folder / "run/model_index.json");
  write_file_atomically(folder / "run/samples", "in the way of a folder");
  const CommandResult result = run_command(
      tiny_train("run", 2) + "--resume-from-checkpoint latest --sample-count 1 --sample-steps 2 --save-images-epochs 0",
      folder.path());
  CHECK(result.status == 1);
  CHECK(fs::exists(folder / "run/model_index.json"));
}

TEST_CASE("a run that cannot begin replaces nothing", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  train_well(tiny_train("run", 1), folder);
  check_run_kept(folder, tiny_train("run", 1) + "--sample-count 1 --sample-guidance-scale 2", "guidance");
  write_replay(folder / "batches.safetensors", {5, 6}, 16);
  check_run_kept(folder, replay("run"), "noise.001");
  edit_file(folder / "network.json", "\"in_channels\": 1", "\"in_channels\": 2");
  check_run_kept(folder, tiny_train("run", 1), "2 channels and answers 1");
  edit_file(folder / "network.json", "\"out_channels\": 1", "\"out_channels\": 2");
  check_run_kept(folder, tiny_train("run", 1), "pictures of 2 channels (out_channels)");
}

TEST_CASE("all of a --replay is looked at before its first step", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const std::pair<std::vector<int64_t>, const char*> cases[] = {
      {{5, -1}, "timesteps.001 holds -1"}, {{5, 1000}, "timesteps.001 holds 1000, expected 0 to 999"}};
  for (const auto& [timesteps, reason] : cases) {
    write_replay(folder / "batches.safetensors", timesteps);
    check_refused(run_command(replay("run"), folder.path()), 1, reason);
    CHECK_FALSE(fs::exists(folder / "run"));
  }
  write_replay(folder / "batches.safetensors", {0, 999});
  train_well(replay("run"), folder);
}

TEST_CASE("weights that are not finite are never saved", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  for (const char* every : {"0", "1"}) {
    check_refused(run_command(tiny_train("run", 1) +
                                  "--learning-rate 1e300 --overwrite-output-dir --checkpointing-steps " + every,
                              folder.path()),
                  1, "no longer finite");
    CHECK_FALSE(fs::exists(folder / "run/model_index.json"));
    CHECK_FALSE(fs::exists(folder / "run/checkpoint-1"));
  }
}

TEST_CASE("a resumed run has the network and the noise schedule of its checkpoint", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  train_well(tiny_train("run", 1) + "--checkpointing-steps 1", folder);
  const auto resume = tiny_train("run", 2) + "--resume-from-checkpoint latest";
  const auto refuse = [&](const std::string& flags, const std::string& reason) {
    INFO(flags);
    check_refused(run_command(resume + flags, folder.path()), 1, reason);
  };
  refuse("--config nope.json", "nope.json");
  refuse("--ddpm-beta-schedule squaredcos_cap_v2", "beta_schedule \"squaredcos_cap_v2\": it is \"linear\"");
  refuse("--ddpm-num-steps 500", "num_train_timesteps 500: it is 1000");
  refuse("--class-conditioning embedding", "--class-conditioning");
  write_file_atomically(folder / "other.json", kTinyNetwork);
  edit_file(folder / "other.json", "\"norm_num_groups\": 4", "\"norm_num_groups\": 2");
  refuse("--config other.json", "other.json: norm_num_groups is 2, but 4 in the checkpoint");
  const std::string said =
      train_well(resume + "--ddpm-beta-schedule linear --learning-rate 3e-3 --random-flip", folder);
  CHECK_THAT(said, Contains("notice: ") && Contains("learning-rate 0.002 (now 0.003)") &&
                       Contains("random-flip false (now true)"));
  CHECK_THAT(said, !Contains("train-batch-size"));
}

TEST_CASE("what a checkpoint's state does not say is asked for by name", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  train_well(tiny_train("run", 1) + "--checkpointing-steps 1 --use-ema", folder);
  write_file_atomically(folder / "run/checkpoint-1/training/state.json", "{}");
  check_refused(run_command(tiny_train("run", 2) + "--use-ema --resume-from-checkpoint latest", folder.path()), 1,
                "field 'step' is missing");
}

TEST_CASE("a run does not learn from its own pictures", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  check_refused(run_command(tiny_train("pictures", 1), folder.path()), 1, "lies in the folder of the data");
  check_refused(run_command(tiny_train("pictures/run", 1), folder.path()), 1, "lies in the folder of the data");
  CHECK_FALSE(fs::exists(folder / "pictures/run"));
  check_refused(run_command(words("train --data pictures --config network.json --out ''"), folder.path()), 2,
                "--out: its value is empty");
}

TEST_CASE("nothing is written into the folder of a model that is read", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  const std::string reason = "lies in the folder of the model, model";
  check_refused(run_command(words("train --data pictures --from model --out model/run"), folder.path()), 1, reason);
  check_refused(run_command(words("convert --model model --out model/new"), folder.path()), 1, reason);
  check_refused(run_command(words("convert --model . --out new"), folder / "model"), 1, "lies in the folder");
  CHECK(std::distance(fs::directory_iterator(folder / "model"), fs::directory_iterator()) == 3);
}

TEST_CASE("class flags that mean nothing are refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  check_train_refused(folder, "--class-planes 9", "--class-planes 9: it goes with --class-conditioning channels");
  check_train_refused(folder, "--class-conditioning embedding --class-planes 9", "this run's is embedding");
  check_train_refused(folder, "--label-dropout 0.1", "the network takes no labels");
}

TEST_CASE("a configuration's table of classes is kept, and refused where it is too small", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  edit_file(folder / "network.json", "\"sample_size\"", "\"num_class_embeds\": 2, \"sample_size\"");
  check_train_refused(folder, "", "num_class_embeds is 2, but pictures has 3 classes");
  edit_file(folder / "network.json", "\"num_class_embeds\": 2", "\"num_class_embeds\": 3");
  check_train_refused(folder, "--label-dropout 0.1", "takes one more row");
  edit_file(folder / "network.json", "\"num_class_embeds\": 3", "\"num_class_embeds\": 20");
  train_well(tiny_train("run", 1) + "--label-dropout 0.1 --sample-count 4 --sample-steps 2", folder);
  CHECK_THAT(read_file(folder / "run/unet/config.json"), Contains("\"num_class_embeds\": 20"));
}

TEST_CASE("a network's sample_size holds, or another is asked for and said", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  edit_file(folder / "network.json", "\"sample_size\": 8", "\"sample_size\": [8, 12]");
  check_train_refused(folder, "", "sample_size is 8x12");
  const std::string said = train_well(tiny_train("square", 1) + "--resolution 16", folder);
  CHECK_THAT(said, Contains("notice: the network's sample_size is 8x12, it becomes 16x16"));
  CHECK_THAT(read_file(folder / "square/unet/config.json"), Contains("\"sample_size\": 16"));
  fs::create_directory(folder / "wide");
  for (int i = 0; i < 4; ++i)
    write_png(folder / fmt::format("wide/{}.png", i), Image(8, 12, 1, static_cast<uint8_t>(9 * i)));
  train_well(tiny_train("oblong", 1) + "--data wide --sample-count 2 --sample-steps 2", folder);
  train_well(words("train --from oblong --data wide --out tuned --max-train-steps 1 --sample-count 0"), folder);
  CHECK_THAT(read_file(folder / "tuned/unet/config.json"), Contains("\"sample_size\": [\n"));
}

TEST_CASE("a network that takes classes says what diffusers cannot do with it", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const auto train = [&](const std::string& kind) {
    return train_well(tiny_train(kind, 1) + ("--class-conditioning " + kind), folder);
  };
  CHECK_THAT(train("none"), !Contains("diffusers"));
  CHECK_THAT(train("embedding"), Contains("hand class_labels to the unet yourself"));
  CHECK_THAT(train("channels"), Contains("classes as channels are this program's own"));
}
