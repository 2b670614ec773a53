#include "tensor/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/error.h"
#include "tests/catch.h"
#include "tests/scratch_folder.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

// No file may grow beyond this size: the nearest thing to a full disk that needs no disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit lower{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_;
};

}  // namespace

TEST_CASE("a folder that takes no files is not said to be missing", "[file]") {
  if (!fs::is_directory("/proc")) return;
  CHECK_THROWS_WITH(AtomicFile("/proc/made.txt"), Contains("/proc/made.txt") && !Contains("there is no folder"));
}

TEST_CASE("a file is there only once it is committed", "[file]") {
  const ScratchFolder folder;
  const std::string path = folder / "made.txt";
  {
    AtomicFile file(path);
    file.write("hello ");
    file.write("world");
    CHECK_FALSE(fs::exists(path));
    file.commit();
    CHECK_THROWS_WITH(file.write("more"), Contains("committed already"));
  }
  CHECK(read_file(path) == "hello world");
  CHECK(folder.count() == 1);
}

TEST_CASE("a file that is not committed leaves the old one alone", "[file]") {
  const ScratchFolder folder;
  const std::string path = folder / "kept.txt";
  write_file_atomically(path, "old");
  { AtomicFile(path).write("new"); }
  CHECK(read_file(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("a replaced file keeps its permissions and its symbolic link", "[file]") {
  const ScratchFolder folder;
  write_file_atomically(folder / "file", "old");
  ::chmod((folder / "file").c_str(), 0640);
  fs::create_symlink("file", folder / "link");
  write_file_atomically(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(read_file(folder / "file") == "new");
  CHECK(fs::status(folder / "file").permissions() == fs::perms(0640));
}

TEST_CASE("a missing parent folder is an error that names it", "[file]") {
  const ScratchFolder folder;
  const std::string path = folder / "missing/file";
  CHECK_THROWS_WITH(AtomicFile(path),
                    Contains("cannot write " + path) && Contains("no folder " + (folder / "missing")));
  CHECK_FALSE(fs::exists(folder / "missing"));
}

TEST_CASE("targets that cannot be written are errors that name path and reason", "[file]") {
  const ScratchFolder folder;
  CHECK_THROWS_WITH(AtomicFile(folder.path()), "cannot write " + folder.path() + ": Is a directory");
  write_file_atomically(folder / "file", "");
  CHECK_THROWS_WITH(AtomicFile(folder / "file/below"), Contains("Not a directory"));
  CHECK_THROWS_WITH(AtomicFile("/proc/stipple"), Contains("/proc/stipple"));
  if (::geteuid() == 0) return;  // root may write everywhere
  ::chmod((folder / "file").c_str(), 0444);
  CHECK_THROWS_WITH(AtomicFile(folder / "file"), Contains("Permission denied"));
}

TEST_CASE("devices and pipes are written directly", "[file]") {
  const ScratchFolder folder;
  write_file_atomically("/dev/null", "gone");
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  write_file_atomically(pipe, "through");
  char text[16];
  CHECK(std::string(text, ::read(reader, text, sizeof text)) == "through");
  ::close(reader);
  CHECK(fs::is_fifo(pipe));
  CHECK(folder.count() == 1);
}

TEST_CASE("an open descriptor's path goes on where the descriptor stands", "[file]") {
  const ScratchFolder folder;
  const int descriptor = ::open((folder / "log").c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(::write(descriptor, "before ", 7) == 7);
  write_file_atomically(fmt::format("/dev/fd/{}", descriptor), "after");
  ::close(descriptor);
  CHECK(read_file(folder / "log") == "before after");
}

TEST_CASE("a full disk is an error", "[file]") {
  const ScratchFolder folder;
  fs::create_symlink("/dev/full", folder / "full");
  CHECK_THROWS_WITH(write_file_atomically(folder / "full", "x"),
                    "cannot write " + (folder / "full") + ": No space left on device");
}

TEST_CASE("a file that outgrows its disk leaves nothing behind", "[file]") {
  const ScratchFolder folder;
  const std::string path = folder / "large";
  write_file_atomically(path, "old");
  {
    const FileSizeLimit limit(1000);
    CHECK_THROWS_WITH(write_file_atomically(path, std::string(2000, 'x')), "cannot write " + path + ": File too large");
  }
  CHECK(read_file(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("a file is read whole, whatever its size", "[file]") {
  const ScratchFolder folder;
  for (size_t size : {0, 1, 65535, 65536, 65537, 1000000}) {
    const std::string text(size, 'q');
    write_file_atomically(folder / "file", text);
    CHECK(read_file(folder / "file") == text);
    const MappedFile mapped(folder / "file");
    CHECK(mapped.size() == size);
    CHECK(std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.size()) == text);
  }
  CHECK_FALSE(read_file("/proc/self/status").empty());  // says that it has no bytes
}

TEST_CASE("files that cannot be read are errors that name path and reason", "[file]") {
  const ScratchFolder folder;
  const std::string missing = folder / "missing";
  CHECK_THROWS_WITH(read_file(missing), "cannot read " + missing + ": No such file or directory");
  CHECK_THROWS_WITH(MappedFile(missing), "cannot read " + missing + ": No such file or directory");
  CHECK_THROWS_WITH(read_file(folder.path()), "cannot read " + folder.path() + ": Is a directory");
  CHECK_THROWS_WITH(MappedFile("/dev/null"), Contains("not a regular file"));
}

TEST_CASE("a folder takes its place whole", "[file]") {
  const ScratchFolder folder;
  const std::string target = folder / "checkpoint-1";
  for (const char* text : {"first", "second"}) {
    const std::string temporary = temporary_beside(target);
    fs::create_directories(temporary + "/unet");
    write_file_atomically(temporary + "/unet/config.json", text);
    replace_folder(temporary, target + "/");
    CHECK(read_file(target + "/unet/config.json") == text);
    CHECK(folder.count() == 1);
  }
}

TEST_CASE("a folder does not take the place of a file", "[file]") {
  const ScratchFolder folder;
  fs::create_directory(folder / "made");
  write_file_atomically(folder / "file", "precious");
  CHECK_THROWS_WITH(replace_folder(folder / "made", folder / "file"),
                    Contains("cannot write") && Contains("no folder"));
  CHECK(read_file(folder / "file") == "precious");
  CHECK_THROWS_AS(replace_folder(folder / "missing", folder / "target"), Error);
}

}  // namespace stipple
