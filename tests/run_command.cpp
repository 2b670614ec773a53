#include "tests/run_command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <utility>

#include "tensor/file.h"

namespace stipple {
namespace {

void redirect(const std::string& path, int descriptor) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::dup2(file, descriptor);
  ::close(file);
}

// In the child. Threads that wait must not spin: the tests share their processors.
[[noreturn]] void become_command(std::vector<char*> arguments, const std::string& folder, const ScratchFolder& output) {
  redirect(output / "out", STDOUT_FILENO);
  redirect(output / "err", STDERR_FILENO);
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  if (::chdir(folder.c_str()) == 0) ::execv(STIPPLE_COMMAND, arguments.data());
  ::_exit(127);
}

}  // namespace

Command::Command(const std::vector<std::string>& arguments, const std::string& folder) {
  std::vector<char*> pointers{const_cast<char*>(STIPPLE_COMMAND)};
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  process_ = ::fork();
  if (process_ == 0) become_command(pointers, folder, output_);
}

Command::~Command() {
  if (process_ <= 0) return;
  send(SIGKILL);
  wait();
}

void Command::send(int signal) { ::kill(process_, signal); }

CommandResult Command::wait() {
  int status = 0;
  ::waitpid(std::exchange(process_, -1), &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(output_ / "out"),
          read_file(output_ / "err")};
}

CommandResult run_command(const std::vector<std::string>& arguments, const std::string& folder) {
  return Command(arguments, folder).wait();
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> found;
  for (std::string word; stream >> word;) found.push_back(word == "''" ? "" : word);
  return found;
}

std::vector<std::string> operator+(std::vector<std::string> arguments, const std::string& more) {
  for (const std::string& word : words(more)) arguments.push_back(word);
  return arguments;
}

}  // namespace stipple
