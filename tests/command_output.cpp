#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/command_result.h"
#include "tests/tiny_pipeline.h"

// Where results go: folders that are missing, taken or full. Nothing may be left half-written.

using namespace stipple;
namespace fs = std::filesystem;

namespace {

// A disk of a few pages (`size` as mount has it) for the length of a test; taken only where this process may mount one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& folder, const std::string& size = "256k") : folder_(folder) {
    fs::create_directory(folder_);
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount(folder_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  void fill(size_t left) const {
    const size_t free = fs::space(folder_).available;
    std::ofstream(folder_ + "/ballast") << std::string(free > left ? free - left : 0, 'x');
  }

 private:
  std::string folder_;
  bool mounted_ = false;
};

constexpr const char* kSample = "sample --model model --count 1 --steps 2 --out ";

}  // namespace

TEST_CASE("outputs into folders that do not exist are refused before the work", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  fs::create_directory(folder / "taken.png");
  write_file_atomically(folder / "taken", "a file");
  check_refused(run_command(words(kSample) + "none/g.png", folder.path()), 1, "there is no folder");
  check_refused(run_command(words(kSample) + "taken.png", folder.path()), 1, "it is a folder");
  check_refused(run_command(words(kSample) + "g.jpg", folder.path()), 1, ".png");
  check_refused(run_command(words(kSample) + "g.png --trajectory none/t.safetensors", folder.path()), 1,
                "there is no folder");
  check_refused(run_command(tiny_train("none/run", 1), folder.path()), 1, "none");
  check_refused(run_command(tiny_train("taken", 1), folder.path()), 1, "is not a folder");
  check_refused(run_command(words("forward --model model --input x --output none/y"), folder.path()), 1,
                "there is no folder");
  CHECK_FALSE(fs::exists(folder / "g.png"));
  CHECK_FALSE(fs::exists(folder / "none"));
}

TEST_CASE("no output may have the name of a frame", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  fs::create_directory(folder / "film");
  const std::pair<const char*, const char*> cases[] = {
      {"g.png --frames film --strip film/frame-000.png", "--strip film/frame-000.png: that name is for a picture"},
      {"g.png --frames film/ --trajectory film/../film/frame-7.png",
       "--trajectory film/../film/frame-7.png: that name"},
      {"film/frame.png --separate --frames film", "--out film/frame-0000.png: that name"}};
  for (const auto& [flags, reason] : cases)
    check_refused(run_command(words(kSample) + flags, folder.path()), 2, reason);
  CHECK(fs::is_empty(folder / "film"));
  CHECK(run_command(words(kSample) + "film/g.png --frames film --strip film/strip.png", folder.path()).status == 0);
}

TEST_CASE("a full device fails the command", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  check_refused(run_command(words(kSample) + "/dev/full", folder.path()), 1, "No space left");
  check_refused(run_command(words(kSample) + "g.png --strip s.png --trajectory /dev/full", folder.path()), 1,
                "No space left");
  CHECK(fs::exists(folder / "g.png"));  // pictures come first
  CHECK(fs::exists(folder / "s.png"));
}

TEST_CASE("standard output that is full fails the command, and success is no reason", "[command]") {
  const ScratchFolder folder;
  for (const char* long_or_short : {"sample --help", "--help"}) {
    const std::string command = fmt::format("{} {} >/dev/full 2>{}", STIPPLE_COMMAND, long_or_short, folder / "err");
    CHECK(std::system(command.c_str()) != 0);
    const std::string message = read_file(folder / "err");
    CHECK(message.starts_with("stipple: cannot write to standard output"));
    CHECK_FALSE(message.ends_with(": Success\n"));
  }
}

TEST_CASE("a full disk leaves nothing half-written", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  const SmallDisk disk(folder / "disk");
  if (!disk.mounted()) {
    WARN("needs the right to mount a tmpfs; not tried");
    return;
  }
  check_refused(run_command(tiny_train("disk/run", 2) + "--checkpointing-steps 1", folder.path()), 1,
                "free; --checkpoints-total-limit keeps fewer");
  CHECK_FALSE(fs::exists(folder / "disk/run"));
  disk.fill(0);
  check_refused(run_command(tiny_train("disk/run", 1), folder.path()), 1, "the disk has 0.0 MiB free\n");
  check_refused(run_command(words(kSample) + "disk/g.png", folder.path()), 1, "No space left");
  CHECK(std::distance(fs::directory_iterator(folder / "disk"), fs::directory_iterator()) == 1);
}

TEST_CASE("only checkpoints that are still to be written need room on the disk", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  const SmallDisk disk(folder / "disk", "1400k");
  if (!disk.mounted()) {
    WARN("needs the right to mount a tmpfs; not tried");
    return;
  }
  const auto train = [&](int64_t steps, const std::string& flags) {
    return run_command(tiny_train("disk/run", steps) + ("--checkpointing-steps 1 " + flags), folder.path());
  };
  REQUIRE(train(1, "").status == 0);
  const CommandResult resumed = train(2, "--resume-from-checkpoint latest");
  INFO(resumed.err);
  CHECK(resumed.status == 0);
  check_refused(train(9, "--overwrite-output-dir"), 1, "the disk has");
  CHECK(fs::exists(folder / "disk/run/model_index.json"));
}

TEST_CASE("a folder that holds a run is taken only if told", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  REQUIRE(run_command(tiny_train("run", 1), folder.path()).status == 0);
  fs::create_directories(folder / "run/samples");
  for (const char* name : {"run/notes.txt", "run/samples/cat.png", "run/samples/step-000001.png"})
    write_file_atomically(folder / name, "mine");
  check_refused(run_command(tiny_train("run", 1), folder.path()), 1, "--overwrite-output-dir");
  check_refused(run_command(tiny_train("run", 1) + "--overwrite-output-dir --data nowhere", folder.path()), 1,
                "nowhere");
  CHECK(fs::exists(folder / "run/model_index.json"));  // a new run that cannot begin removes nothing
  CHECK(run_command(tiny_train("run", 1) + "--overwrite-output-dir", folder.path()).status == 0);
  for (const char* name : {"run/notes.txt", "run/samples/cat.png"}) CHECK(read_file(folder / name) == "mine");
  CHECK_FALSE(fs::exists(folder / "run/samples/step-000001.png"));
}

TEST_CASE("a run does not replace what it starts from", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  REQUIRE(run_command(tiny_train("run", 1) + "--checkpointing-steps 1", folder.path()).status == 0);
  const std::string kept = read_file(folder / "run/unet/diffusion_pytorch_model.safetensors");
  for (const char* input :
       {"--from run", "--from ./run/", "--from run/checkpoint-1", "--config run/unet/config.json"}) {
    const auto train = words("train --data pictures --out run --overwrite-output-dir --max-train-steps 1");
    check_refused(run_command(train + input, folder.path()), 1, "would remove what --");
  }
  const auto train = words("train --data run/samples --out run --overwrite-output-dir --max-train-steps 1");
  fs::create_directory(folder / "run/samples");
  write_file_atomically(folder / "run/samples/step-000001.png", "a grid");
  check_refused(run_command(train, folder.path()), 1, "would remove what --data names");
  CHECK(read_file(folder / "run/unet/diffusion_pytorch_model.safetensors") == kept);
  CHECK(fs::exists(folder / "run/checkpoint-1"));
}

TEST_CASE("what no run wrote is replaced only if told", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  fs::create_directory(folder / "run");
  for (const char* entry : {"loss.png", "samples", "unet"}) {
    const std::string path = folder / (std::string("run/") + entry);
    write_file_atomically(path, "mine");
    for (const char* flags : {"", "--resume-from-checkpoint latest"})
      check_refused(run_command(tiny_train("run", 1) + flags, folder.path()), 1, entry);
    CHECK(read_file(path) == "mine");
    fs::remove(path);
  }
  write_file_atomically(folder / "run/loss.png", "mine");
  CHECK(run_command(tiny_train("run", 1) + "--overwrite-output-dir", folder.path()).status == 0);
  CHECK(read_file(folder / "run/loss.png") != "mine");
}

TEST_CASE("resuming needs a checkpoint, except from `latest`", "[command]") {
  const ScratchFolder folder;
  write_tiny_data(folder);
  write_tiny_pipeline(folder / "model");
  const auto train = tiny_train("run", 1);
  check_refused(run_command(train + "--resume-from-checkpoint run/checkpoint-7", folder.path()), 1, "checkpoint-7");
  check_refused(run_command(train + "--resume-from-checkpoint model", folder.path()), 1, "not a checkpoint");
  const CommandResult fresh = run_command(train + "--resume-from-checkpoint latest", folder.path());
  CHECK(fresh.status == 0);
  CHECK_THAT(fresh.err, Contains("notice: ") && Contains("starting at step 0"));
}

TEST_CASE("Ctrl-C while drawing exits 130 and leaves no picture", "[command]") {
  const ScratchFolder folder;
  write_tiny_pipeline(folder / "model");
  Command sample(words("sample --model model --count 64 --steps 1000 --out g.png"), folder.path());
  ::usleep(400000);
  sample.send(SIGINT);
  const CommandResult result = sample.wait();
  CHECK(result.status == 130);
  CHECK_THAT(result.err, Contains("interrupted: nothing is written"));
  CHECK(folder.count() == 1);
}
