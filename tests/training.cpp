#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tensor/safetensors.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/tiny_pipeline.h"

// The training loop from outside: what it leaves in its folder, and that stopping it changes no bit.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr const char* kEverything =
    "--gradient-accumulation-steps 2 --use-ema --random-flip --class-conditioning embedding --label-dropout 0.3 --seed "
    "5";

std::vector<Json> metrics(const fs::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

// All but the time it took.
std::vector<Json> repeatable(std::vector<Json> lines) {
  for (Json& line : lines) line.erase("step_seconds");
  return lines;
}

void check_same_tensors(const fs::path& a, const fs::path& b) {
  const SafetensorsFile x(a.string()), y(b.string());
  REQUIRE(x.names() == y.names());
  for (const std::string& name : x.names()) {
    INFO(name);
    CHECK(same_bits(x.load(name), y.load(name)));
  }
}

// Weights, EMA, moments, random state, position and every line of the metrics.
void check_same_run(const fs::path& a, const fs::path& b, int64_t step) {
  const std::string checkpoint = "checkpoint-" + std::to_string(step);
  for (const char* file : {"unet/diffusion_pytorch_model.safetensors", "training/state.safetensors"})
    check_same_tensors(a / checkpoint / file, b / checkpoint / file);
  check_same_tensors(a / "unet/diffusion_pytorch_model.safetensors", b / "unet/diffusion_pytorch_model.safetensors");
  CHECK(read_file((a / checkpoint / "training/state.json").string()) ==
        read_file((b / checkpoint / "training/state.json").string()));
  CHECK(repeatable(metrics(a)) == repeatable(metrics(b)));
  CHECK(fs::exists(b / "model_index.json"));
  for (const auto& entry : fs::directory_iterator(b)) CHECK(entry.path().filename().string().front() != '.');
}

void wait_for(const fs::path& file) {
  for (int i = 0; i < 3000 && !fs::exists(file); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(fs::exists(file));
}

void run_well(const std::vector<std::string>& arguments, const ScratchFolder& folder) {
  const CommandResult result = run_command(arguments, folder.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
}

}  // namespace

TEST_CASE("20 steps, or 10 and 10 more after resuming, give the same bits", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("whole", 20) + kEverything + "--checkpointing-steps 20", folder);
  run_well(tiny_train("halves", 10) + kEverything + "--checkpointing-steps 10", folder);
  run_well(tiny_train("halves", 20) + kEverything + "--checkpointing-steps 10 --resume-from-checkpoint latest", folder);
  check_same_run(folder / "whole", folder / "halves", 20);
  CHECK(metrics(folder / "whole").size() == 20);
}

TEST_CASE("one thread and two give the same bits", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("two", 6) + kEverything + "--checkpointing-steps 6", folder);
  run_well(tiny_train("one", 6) + kEverything + "--checkpointing-steps 6 --threads 1", folder);
  check_same_run(folder / "two", folder / "one", 6);
}

TEST_CASE("gradient checkpointing changes losses by rounding only", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("kept", 4), folder);
  run_well(tiny_train("again", 4) + "--gradient-checkpointing", folder);
  const auto kept = metrics(folder / "kept"), again = metrics(folder / "again");
  for (size_t i = 0; i < 4; ++i)
    CHECK(again[i]["loss"].get<double>() == Approx(kept[i]["loss"].get<double>()).epsilon(1e-5));
}

TEST_CASE("an interrupted run saves a checkpoint, exits 130 and resumes with the same bits", "[training]") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const ScratchFolder folder;
  write_tiny_data(folder);
  const auto flags = std::string(kEverything) + " --checkpointing-steps 60";
  Command first(tiny_train("stopped", 60) + flags, folder.path());
  wait_for(folder / "stopped/metrics.jsonl");
  while (metrics(folder / "stopped").size() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  first.send(signal);
  const CommandResult result = first.wait();
  INFO(result.err);
  REQUIRE(result.status == 130);
  CHECK_THAT(result.err, Contains("--resume-from-checkpoint latest"));
  CHECK_FALSE(fs::exists(folder / "stopped/model_index.json"));
  const size_t steps = metrics(folder / "stopped").size();
  REQUIRE(steps < 60);
  CHECK(fs::exists(folder / ("stopped/checkpoint-" + std::to_string(steps))));
  run_well(tiny_train("stopped", 60) + flags + "--resume-from-checkpoint latest", folder);
  run_well(tiny_train("whole", 60) + flags, folder);
  check_same_run(folder / "whole", folder / "stopped", 60);
}

TEST_CASE("a killed run goes on from its last checkpoint with the same bits", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const auto flags = std::string(kEverything) + " --checkpointing-steps 20";
  Command first(tiny_train("killed", 60) + flags, folder.path());
  wait_for(folder / "killed/checkpoint-20");
  while (metrics(folder / "killed").size() < 23) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  first.send(SIGKILL);
  CHECK(first.wait().status == 128 + SIGKILL);
  fs::create_directory(folder / "killed/.stipple-1-0.tmp");  // a checkpoint half-written
  std::ofstream(folder / "killed/metrics.jsonl", std::ios::app) << R"({"step":)";
  run_well(tiny_train("killed", 60) + flags + "--resume-from-checkpoint latest", folder);
  run_well(tiny_train("whole", 60) + flags, folder);
  check_same_run(folder / "whole", folder / "killed", 60);
}

TEST_CASE("only so many checkpoints are kept", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("run", 10) + "--checkpointing-steps 2 --checkpoints-total-limit 2", folder);
  for (int step : {2, 4, 6}) CHECK_FALSE(fs::exists(folder / ("run/checkpoint-" + std::to_string(step))));
  for (int step : {8, 10}) CHECK(fs::exists(folder / ("run/checkpoint-" + std::to_string(step))));
}

TEST_CASE("a loss that is not finite ends the run and keeps the last good checkpoint", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("run", 2) + "--checkpointing-steps 2", folder);
  const auto result =
      run_command(tiny_train("run", 9) + "--checkpointing-steps 5 --learning-rate 1e30 --resume-from-checkpoint latest",
                  folder.path());
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("training has diverged"));
  const auto lines = metrics(folder / "run");
  REQUIRE(lines.size() >= 3);
  CHECK((lines.back()["loss"].is_null() || lines.back()["grad_norm"].is_null()));
  CHECK(lines.back()["epoch"] > lines.front()["epoch"]);
  CHECK_THAT(result.err, !Contains("nan"));
  CHECK(fs::exists(folder / "run/checkpoint-2/model_index.json"));
  CHECK_FALSE(fs::exists(folder / "run/checkpoint-5"));
}

TEST_CASE("replayed batches give PyTorch's losses", "[training]") {
  const ScratchFolder folder;
  const fs::path fixture = fs::path(STIPPLE_FIXTURES) / "replay";
  const Json expected = Json::parse(read_file((fixture / "expected.json").string()));
  for (const auto& [name, run] : expected.items()) {
    auto arguments = words("train --checkpointing-steps 0 --from");
    arguments.push_back((fixture / "pipeline").string());
    arguments.insert(arguments.end(), {"--replay", (fixture / "batches.safetensors").string(), "--out", name});
    for (const auto& [flag, value] : run["flags"].items()) {
      arguments.push_back("--" + flag);
      arguments.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
    run_well(arguments, folder);
    const auto lines = metrics(folder / name);
    REQUIRE(lines.size() == run["loss"].size());
    for (size_t i = 0; i < lines.size(); ++i) {
      INFO(name << ", step " << i + 1);
      CHECK(lines[i]["loss"].get<double>() == Approx(run["loss"][i].get<double>()).epsilon(1e-4));
      CHECK(lines[i]["grad_norm"].get<double>() == Approx(run["grad_norm"][i].get<double>()).epsilon(1e-3));
      CHECK(lines[i]["lr"].get<double>() == Approx(run["lr"][i].get<double>()).epsilon(1e-9));
    }
  }
}

TEST_CASE("with --use-ema unet/ holds the average and training/ the raw weights", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("averaged", 8) + "--use-ema --checkpointing-steps 8", folder);
  run_well(tiny_train("raw", 8) + "--checkpointing-steps 8", folder);
  const SafetensorsFile unet(folder / "averaged/checkpoint-8/unet/diffusion_pytorch_model.safetensors"),
      state(folder / "averaged/checkpoint-8/training/state.safetensors"),
      raw(folder / "raw/unet/diffusion_pytorch_model.safetensors");
  for (const std::string& name : unet.names()) {
    INFO(name);
    CHECK(same_bits(unet.load(name), state.load("ema." + name)));
    CHECK(same_bits(raw.load(name), state.load("weights." + name)));
  }
  CHECK_FALSE(same_bits(unet.load("conv_in.weight"), raw.load("conv_in.weight")));
  check_same_tensors(folder / "averaged/unet/diffusion_pytorch_model.safetensors",
                     folder / "averaged/checkpoint-8/unet/diffusion_pytorch_model.safetensors");
}

TEST_CASE("dropout is the same after resuming and under gradient checkpointing", "[training][dropout]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("without", 6), folder);
  edit_file(folder / "network.json", "\"sample_size\"", "\"dropout\": 0.3, \"sample_size\"");
  run_well(tiny_train("whole", 6) + "--checkpointing-steps 6", folder);
  run_well(tiny_train("halves", 3) + "--checkpointing-steps 3", folder);
  run_well(tiny_train("halves", 6) + "--checkpointing-steps 3 --resume-from-checkpoint latest", folder);
  check_same_run(folder / "whole", folder / "halves", 6);
  run_well(tiny_train("again", 6) + "--gradient-checkpointing", folder);
  const auto without = metrics(folder / "without"), whole = metrics(folder / "whole"),
             again = metrics(folder / "again");
  CHECK(whole[0]["loss"] != without[0]["loss"]);
  for (size_t i = 0; i < 6; ++i)
    CHECK(again[i]["loss"].get<double>() == Approx(whole[i]["loss"].get<double>()).epsilon(1e-5));
}

TEST_CASE("a network learns one batch by heart", "[training]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  fs::create_directory(folder / "one");
  write_png(folder / "one/a.png", tiny_picture(1));
  run_well(words("train --data one --config network.json --out run --max-train-steps 300 --train-batch-size 1 "
                 "--gradient-accumulation-steps 1 --learning-rate 4e-3 --lr-warmup-steps 10 --lr-scheduler cosine "
                 "--sample-count 0 --checkpointing-steps 0 --adam-weight-decay 0 --ddpm-num-steps 10"),
           folder);
  const auto lines = metrics(folder / "run");
  double last = 0;
  for (size_t i = lines.size() - 50; i < lines.size(); ++i) last += lines[i]["loss"].get<double>() / 50;
  CHECK(last < 0.2 * lines[0]["loss"].get<double>());
}

TEST_CASE("a class-conditioned network trains, resumes, is fine-tuned and draws", "[training]") {
  const std::string way = GENERATE("embedding", "channels");
  const ScratchFolder folder;
  write_tiny_data(folder);
  run_well(tiny_train("run", 4) + ("--label-dropout 0.2 --checkpointing-steps 2 --class-conditioning " + way), folder);
  run_well(tiny_train("run", 5) + "--label-dropout 0.2 --resume-from-checkpoint latest", folder);
  run_well(
      words("train --data pictures --from run --out tuned --max-train-steps 2 --train-batch-size 4 --sample-count 4 "
            "--sample-steps 2 --sample-guidance-scale 2"),
      folder);
  CHECK(fs::exists(folder / "tuned/samples/step-000002.png"));
  run_well(
      words("sample --model tuned --out grid.png --class 0-2 --count 6 --steps 2 --sampler ddim --guidance-scale 2"),
      folder);
  CHECK(fs::exists(folder / "grid.png"));
}
