#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/scratch_folder.h"

// The program under test, as a user would start it.

namespace stipple {

struct CommandResult {
  int status;            // its exit status; 128 + the signal that ended it
  std::string out, err;  // standard output and error
};

// A command that runs; destroying it ends it. `folder` becomes its working folder.
class Command {
 public:
  explicit Command(const std::vector<std::string>& arguments, const std::string& folder = ".");
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void send(int signal);
  CommandResult wait();

 private:
  ScratchFolder output_;
  pid_t process_;
};

CommandResult run_command(const std::vector<std::string>& arguments, const std::string& folder = ".");

// "train --data x" -> {"train", "--data", "x"}: for arguments without spaces of their own; '' is an empty one.
std::vector<std::string> words(const std::string& line);
std::vector<std::string> operator+(std::vector<std::string> arguments, const std::string& more);

}  // namespace stipple
