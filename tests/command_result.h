#pragma once
#include <algorithm>

#include "tests/catch.h"
#include "tests/run_command.h"

namespace stipple {

// A refusal: this status, and on standard error one line (after notices) that says `reason`; nothing on standard
// output.
inline void check_refused(const CommandResult& result, int status, const std::string& reason) {
  INFO(result.err);
  CHECK(result.status == status);
  CHECK(result.out.empty());
  const size_t last = result.err.find_last_of('\n', result.err.size() - 2);
  const std::string line = last == std::string::npos ? result.err : result.err.substr(last + 1);
  CHECK(line.starts_with("stipple: "));
  CHECK_THAT(line, Contains(reason));
  CHECK(std::count(line.begin(), line.end(), '\n') == 1);
}

}  // namespace stipple
