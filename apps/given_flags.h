#pragma once
#include <CLI/CLI.hpp>

namespace stipple {

// What holds of the flags of every command: none has an empty value, which is wrong usage, and of one that is given
// more than once the last counts, as with argparse, which is said on standard error.
void check_given_flags(const CLI::App&);

}  // namespace stipple
