#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// The command line: help, usage errors, flags and what they answer.

using namespace stipple;
namespace fs = std::filesystem;

TEST_CASE("every command has help and a version", "[command]") {
  for (const std::string command : {"", "train", "sample", "info", "forward", "profile", "data", "data get"}) {
    INFO(command);
    const CommandResult help = run_command(words(command) + "--help"),
                        version = run_command(words(command) + "--version");
    CHECK(help.status == 0);
    CHECK_THAT(help.out, Contains("--help"));
    CHECK(version.status == 0);
    CHECK_THAT(version.out, Contains("stipple "));
    CHECK((help.err + version.err).empty());
  }
}

TEST_CASE("wrong usage exits 2 and says what was wrong", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const std::pair<const char*, const char*> cases[] = {
      {"", "A subcommand is required"},
      {"paint", "there is no command 'paint'"},
      {"train --data glyphs --out run --no-such-flag", "--no-such-flag"},
      {"train --data glyphs", "--out is required"},
      {"train --out run", "--data or --replay"},
      {"train --data glyphs --replay x --out run", "--data or --replay"},
      {"train --data glyphs --out run --train-batch-size many", "--train-batch-size"},
      {"train --data glyphs --out run --train-batch-size 0", "--train-batch-size"},
      {"train --data glyphs --out run --learning-rate nan", "--learning-rate: nan is not a number of 0 or more"},
      {"train --data glyphs --out run --learning-rate -1", "--learning-rate: -1 is not a number of 0 or more"},
      {"train --data glyphs --out run --learning-rate inf", "--learning-rate"},
      {"train --data glyphs --out run --max-grad-norm nan", "--max-grad-norm"},
      {"train --data glyphs --out run --adam-beta1 1", "--adam-beta1: 1 is not a number from 0 to below 1"},
      {"train --data glyphs --out run --adam-beta2 nan", "--adam-beta2"},
      {"train --data glyphs --out run --ema-power nan", "--ema-power"},
      {"train --data glyphs --out run --label-dropout nan", "--label-dropout"},
      {"train --data glyphs --out run --sample-guidance-scale nan", "--sample-guidance-scale"},
      {"sample --model model --out g.png --eta nan", "--eta"},
      {"train --data glyphs --out run --mixed-precision fp16", "--mixed-precision"},
      {"train --data glyphs --out run --class-conditioning names", "--class-conditioning"},
      {"train --data glyphs --out run --from model --config c.json", "excludes"},
      {"sample --model model --out g.png --seeds 3-1", "--seeds"},
      {"sample --model model --out g.png --seeds 1,,2", "--seeds"},
      {"sample --model model --out g.png --seeds one", "--seeds"},
      {"sample --model model --out g.png --seeds 0-99999999999", "--seeds"},
      {"sample --model model --out g.png --seeds 1 --count 2", "excludes"},
      {"sample --model model --out g.png --steps 0", "--steps"},
      {"sample --model model --out g.png --strip ./g.png", "--out g.png and --strip ./g.png: one would replace"},
      {"sample --model model --out g.png --trajectory g.png", "--out g.png and --trajectory g.png"},
      {"sample --model model --out g.png --gif z.gif --trajectory z.gif", "--trajectory z.gif and --gif z.gif"},
      {"sample --model model --out z --frames z", "--out z and --frames z"},
      {"sample --model model --out z --frames z/", "--out z and --frames z"},
      {"sample --model model --out g.png --seeds 1-2 --separate --strip g-0002.png", "--out g-0002.png and --strip"},
      {"sample --model model --out g.png --interpolate 1-2-9", "no pair of seeds"},
      {"sample --model model --out g.png --interpolate 3-5,9", "no pair of seeds"},
      {"sample --model model --out g.png --interpolate 1-4 --seed 7", "excludes"},
      {"sample --model model --out g.png --seeds 3 --seed 9", "excludes"},
      {"sample --model model --out g.png --noise n --count 3", "excludes"},
      {"sample --model model --out g.png --init-image i.png --invert --rng torch", "excludes"},
      {"sample --model model --out g.png --init-image i.png --invert --count 3", "excludes"},
      {"sample --model model --out g.png --seed -1", "--seed: -1 is not a whole number from 0"},
      {"sample --model model --out g.png --seed 18446744073709551616", "--seed: 18446744073709551616 is not"},
      {"sample --model model --out g.png --seeds ''", "--seeds: its value is empty"},
      {"sample --model model --out ''", "--out: its value is empty"},
      {"convert --model model --out ''", "--out: its value is empty"},
      {"sample --model model --out g.png --every 3", "--every 3: it goes with"},
      {"sample --model model --out g.png --separate --nrow 3", "--nrow 3: with --separate"},
      {"sample --model model --out g.png --sampler euler --s-noise nan", "--s-noise: nan is not a number"},
      {"sample --model model --out g.png --sampler euler --s-tmin -5", "--s-tmin: -5 is not a number"},
      {"sample --model model --out g.png --sampler euler --s-tmax nan", "--s-tmax: nan is not a number"},
      {"sample --model model --out g.png --sampler euler --s-tmin 1", "--s-tmin requires --s-churn"},
      {"sample --model model --out g.png --sampler euler --s-tmax 1", "--s-tmax requires --s-churn"},
      {"sample --model model --out g.png --sampler ddim --eta 5", "--eta: 5 "},
      {"sample --model model --out g.png --sampler euler --s-noise 1", "--s-noise requires --s-churn"},
      {"train --data glyphs --out run --ema-power .3", "--ema-power requires --use-ema"},
      {"train --data glyphs --out run --ema-inv-gamma 2", "--ema-inv-gamma requires --use-ema"},
      {"train --data glyphs --out run --ema-max-decay .3", "--ema-max-decay requires --use-ema"},
      {"train --data glyphs --out run --sample-count 0 --sample-steps 7", "--sample-steps: with --sample-count 0"},
      {"train --data glyphs --out run --sample-count 0 --sample-guidance-scale 2", "with --sample-count 0"},
      {"sample --model model --out g.png --rng mersenne", "--rng"},
      {"info", "--model is required"},
      {"data get", "name is required"},
  };
  for (const auto& [line, reason] : cases) {
    INFO(line);
    check_refused(run_command(words(line), folder.path()), 2, reason);
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("flags may be written with underscores, and of a flag given twice the last counts", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model", three_classes(true));
  const auto arguments = words("sample --model model --out a.png --steps 1 --count 1 --class 1");
  REQUIRE(run_command(arguments + "--guidance-scale 3 --sampler ddim", folder.path()).status == 0);
  const CommandResult twice =
      run_command(arguments + "--out b.png --guidance_scale=7 --cfg_scale 3 --sampler ddim", folder.path());
  REQUIRE(twice.status == 0);
  CHECK_THAT(twice.err, Contains("notice: --guidance-scale is given 2 times; the last counts\n"));
  CHECK_THAT(twice.err, Contains("notice: --out is given 2 times; the last counts\n"));
  CHECK(read_file(folder / "a.png") == read_file(folder / "b.png"));
}

TEST_CASE("--json answers parse", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const auto json = [&](const std::vector<std::string>& arguments) {
    const CommandResult result = run_command(arguments + "--json", folder.path());
    INFO(result.err);
    REQUIRE(result.status == 0);
    return nlohmann::json::parse(result.out);
  };
  CHECK(json(tiny_train("run", 2))["steps"] == 2);
  CHECK(json(words("sample --model run --out g.png --count 3 --steps 2 --separate"))["files"].size() == 3);
  const auto info = json(words("info --model run"));
  CHECK(info["parameters"] == Pipeline(tiny_network(), {}, {}).parameters.count());
  CHECK(info["shapes"]["conv_in.weight"] == nlohmann::json{8, 1, 3, 3});
}

TEST_CASE("notices go to standard error and do not stop the work", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  edit_file(folder / "model/unet/config.json", "\"in_channels\"", "\"flavour\": 3, \"in_channels\"");
  const CommandResult result = run_command(words("info --model model --json"), folder.path());
  CHECK(result.status == 0);
  CHECK_THAT(result.err, Contains("notice: ") && Contains("'flavour' is unknown"));
  CHECK(nlohmann::json::accept(result.out));
}

TEST_CASE("an allocator that does not exist is refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  const char* before = std::getenv("STIPPLE_ALLOCATOR");
  const std::string kept = before ? before : "";
  ::setenv("STIPPLE_ALLOCATOR", "foo", 1);
  const CommandResult result = run_command(words("info --model model"), folder.path());
  ::setenv("STIPPLE_ALLOCATOR", kept.c_str(), 1);
  check_refused(result, 1, "STIPPLE_ALLOCATOR is 'foo'");
}

TEST_CASE("what this build or device cannot do is refused by name", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  if (!is_available(Device::cuda))
    check_refused(run_command(tiny_train("run", 1) + "--device cuda", folder.path()), 1, "--device cuda");
  check_refused(run_command(tiny_train("run", 1) + "--device tpu", folder.path()), 2, "tpu");
  check_refused(run_command(tiny_train("run", 1) + "--mixed-precision bf16", folder.path()), 1,
                "--mixed-precision bf16");
  check_refused(run_command(tiny_train("run", 1) + "--mixed-precision tf32", folder.path()), 1,
                "--mixed-precision tf32");
  check_refused(run_command(words("sample --model no --out x.png --mixed-precision bf16"), folder.path()), 1,
                "--mixed-precision bf16: --device cpu computes in f32 only");
  check_refused(run_command(tiny_train("run", 1) + "--lr-scheduler wavy", folder.path()), 1, "wavy");
  check_refused(run_command(tiny_train("run", 1) + "--prediction-type velvet", folder.path()), 1, "velvet");
  check_refused(run_command(tiny_train("run", 1) + "--ddpm-beta-schedule steep", folder.path()), 1, "steep");
  CHECK_FALSE(fs::exists(folder / "run"));
}
