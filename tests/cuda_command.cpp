#include <filesystem>

#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// The command with --device cuda, on a GPU or on the emulator.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

std::string run_well(const std::vector<std::string>& arguments, const ScratchFolder& folder) {
  const CommandResult result = run_command(arguments, folder.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  return result.err;
}

}  // namespace

TEST_CASE("training and sampling take --mixed-precision, and resuming compares it", "[cuda][command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const auto train = [](int64_t steps) { return tiny_train("run", steps) + "--device cuda --checkpointing-steps 2"; };
  run_well(train(2) + "--mixed-precision bf16 --use-ema", folder);
  const auto resume = train(3) + "--use-ema --resume-from-checkpoint latest --sample-count 1 --sample-steps 2";
  CHECK_THAT(run_well(resume + "--mixed-precision bf16", folder), !Contains("the checkpoint was made with"));
  CHECK_THAT(run_well(resume + "--mixed-precision tf32", folder), Contains("mixed-precision bf16 (now tf32)"));
  run_well(words("sample --model run --device cuda --mixed-precision bf16 --steps 2 --count 1 --out bf16.png"), folder);
  CHECK(fs::exists(folder / "bf16.png"));
}
