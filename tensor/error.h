#pragma once
#include <fmt/core.h>

#include <stdexcept>

// Every error of the library is an Error whose message is one clear line: the operation, what was given, what was
// expected.

namespace stipple {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// The arguments are formatted only when the condition does not hold.
template <typename... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(format, std::forward<Args>(args)...);
}

}  // namespace stipple
