#include <cstdlib>
#include <fstream>

#include "tests/command_result.h"
#include "tests/tiny_run.h"

// Pictures that are not there, not readable or not fit.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

// Trains on --data DATA; nothing of a run may be left.
void check_data_refused(const ScratchFolder& folder, const std::string& data, const std::string& reason,
                        const std::string& more = "") {
  INFO(data);
  check_refused(run_command(tiny_train("run", 1) + ("--data " + data + " " + more), folder.path()), 1, reason);
  CHECK_FALSE(fs::exists(folder / "run"));
}

void copy_beginning(const std::string& from, const std::string& to, double share) {
  const std::string whole = read_file(from);
  write_file_atomically(to, whole.substr(0, static_cast<size_t>(share * static_cast<double>(whole.size()))));
}

}  // namespace

TEST_CASE("a data set that is not there is refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  fs::create_directory(folder / "empty");
  check_data_refused(folder, "nowhere", "nowhere");
  check_data_refused(folder, "empty", "empty");
  check_data_refused(folder, "network.json", "is a file");
  check_data_refused(folder, "mnist", "stipple data get mnist");
  fs::create_directories(folder / "data/mnist");
  write_file_atomically(folder / "data/mnist/train-images-idx3-ubyte.gz.part", "the beginning");
  check_data_refused(folder, "mnist", "no data set is in the folder data/mnist; `stipple data get mnist`");
  check_data_refused(folder, "huggan/smithsonian_butterflies_subset", "hf download");
}

TEST_CASE("a download without a network is one line of error and no folder", "[command]") {
  const ScratchFolder folder;
  ::setenv("https_proxy", "http://127.0.0.1:1", 1);
  check_refused(run_command(words("data get mnist"), folder.path()), 1, "cannot be downloaded");
  const CommandResult result = run_command(words("data get cifar10"), folder.path());
  ::unsetenv("https_proxy");
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(folder.count() == 0);
}

TEST_CASE("pictures that cannot be read are refused, all of them by name", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const std::string images = STIPPLE_FIXTURES "/images/";
  copy_beginning(images + "rgb.jpg", folder / "pictures/cut.jpg", 0.5);
  copy_beginning(images + "palette.png", folder / "pictures/cut.png", 0.8);
  write_file_atomically(folder / "pictures/text.png", "no picture at all");
  for (const char* name : {"cut.jpg", "cut.png", "text.png"}) check_data_refused(folder, "pictures", name);
  const CommandResult result = run_command(tiny_train("run", 1) + "--skip-bad", folder.path());
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK_THAT(result.err, Contains("notice: ") && Contains("text.png"));
}

TEST_CASE("sizes the network cannot halve are refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  check_data_refused(folder, "pictures", "multiples of 2", "--resolution 9");
}

TEST_CASE("labels must be there where they are asked for", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  fs::create_directory(folder / "flat");
  for (int i = 0; i < 3; ++i) write_png(folder / ("flat/" + std::to_string(i) + ".png"), tiny_picture(i));
  check_data_refused(folder, "flat", "no labels", "--class-conditioning embedding");
  check_data_refused(folder, "pictures", "--label-dropout", "--label-dropout 0.1");
}

TEST_CASE("a config that is none is refused", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const std::pair<const char*, const char*> cases[] = {
      {"{", "not valid JSON"},
      {"[]", "JSON object expected"},
      {R"({"in_channels": "one"})", "in_channels"},
      {R"({"block_out_channels": [8]})", "block_out_channels"},
      {R"({"down_block_types": ["CrossAttnDownBlock2D"]})", "CrossAttnDownBlock2D"},
      {R"({"norm_num_groups": 5, "block_out_channels": [8, 12, 16, 16]})", "norm_num_groups"},
      {R"({"layers_per_block": 1000000000})", "layers_per_block"},
      {R"({"dropout": 1.5, "in_channels": 1, "out_channels": 1, "block_out_channels": [32, 32, 32, 32]})", "dropout"},
  };
  for (const auto& [text, reason] : cases) {
    INFO(text);
    write_file_atomically(folder / "network.json", text);
    check_data_refused(folder, "pictures", reason, "--resolution 16");
  }
  check_data_refused(folder, "pictures", "missing.json", "--config missing.json");
}
