#pragma once
#include <string>

#include "kernels/emulator/api.h"

namespace emulator {

// Runs all blocks, several at a time: they are independent. The report of the first block that failed, else empty.
std::string run_grid(const Launch&);

}  // namespace emulator
