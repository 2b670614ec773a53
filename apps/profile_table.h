#pragma once
#include <string>
#include <vector>

#include "kernels/emulator/counts.h"

// What the emulator counted, as a table or as JSON. Only in builds with the emulator.

namespace stipple {

void print_profile_legend();
void print_profile(const std::string& title, const std::vector<emulator::KernelCounts>&, bool lines);
std::string profile_as_json(const std::string& title, const std::vector<emulator::KernelCounts>&, bool lines);

}  // namespace stipple
