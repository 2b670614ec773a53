#pragma once
#include <string>
#include <string_view>

namespace stipple {

// What a file says, for messages: whatever it is, it stays on one line, and a short one.
std::string in_quotes(std::string_view text);

}  // namespace stipple
