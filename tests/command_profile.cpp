#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/command_result.h"

// stipple profile: needs the emulator; elsewhere it says so.

using namespace stipple;

#ifdef STIPPLE_EMULATED

TEST_CASE("profile counts the kernels of an operation, forward and backward", "[command][counters]") {
  const CommandResult result =
      run_command(words("profile --operation silu n=1 h=4 w=4 c=64 add n=1 h=2 w=2 c=8 --json --lines"));
  REQUIRE(result.status == 0);
  std::istringstream rows(result.out);
  std::string row;
  REQUIRE(std::getline(rows, row));
  const auto silu = nlohmann::json::parse(row);
  CHECK(silu["title"] == "silu c=64 h=4 n=1 w=4 f32, forward and backward");
  REQUIRE(silu["kernels"].size() == 2);
  const auto& forward = silu["kernels"][0];
  CHECK_THAT(forward["kernel"].get<std::string>(), Contains("activation_kernel"));
  CHECK(forward["blocks"] == 4);
  CHECK(forward["global load"]["requests"] == 32);
  CHECK(forward["global load"]["sectors"] == 128);
  CHECK(forward["moved_bytes"] == 8192);
  CHECK(forward["compulsory_bytes"] == 8192);
  CHECK(forward["dram_model"]["written_bytes"] == 4096);
  CHECK(forward["model_time"]["H100"]["seconds_at_least"] > 0);
  CHECK(forward["lines"].size() == 1);
  REQUIRE(std::getline(rows, row));
  CHECK_THAT(row, Contains("binary_kernel"));
}

TEST_CASE("profile's table calls a model a model", "[command][counters]") {
  const CommandResult result = run_command(words("profile --operation silu n=1 h=2 w=2 c=64 --dtype bf16"));
  REQUIRE(result.status == 0);
  CHECK_THAT(result.out, Contains("no time here was measured"));
  CHECK_THAT(result.out, Contains("model time, us, at least"));
  CHECK_THAT(result.out, Contains("2.00/2.00"));
  CHECK_THAT(result.out, Contains("activation_kernel"));
}

TEST_CASE("profile names what it does not know", "[command][counters]") {
  check_refused(run_command(words("profile --json --operation paint")), 1, "--operation paint: there are conv2d");
  check_refused(run_command(words("profile --json --operation silu k=3")), 1, "k is none of its sizes");
  check_refused(run_command(words("profile --json --operation silu c=many")), 1, "'c=many' is no size");
  check_refused(run_command(words("profile --json --operation n=1")), 1, "not with a name");
}

#else

TEST_CASE("profile needs the emulator, and says so", "[command]") {
  check_refused(run_command(words("profile --operation silu")), 1, "no emulated GPU");
}

#endif
