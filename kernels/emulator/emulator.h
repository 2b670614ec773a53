#pragma once
#include <string>

// What the host program may ask of the emulator beyond CUDA's own interface.

namespace emulator {

enum class Mode {
  fast,   // no access is looked at; barriers, deadlocks, poison and forgotten waits still show
  check,  // every access of shared and device memory is checked: see checker.h
  count,  // every access is counted: see counts.h
};
// STIPPLE_EMULATOR=check in the environment is the mode to begin with; fast otherwise.
void set_mode(Mode);
Mode mode();

// Whether kernels were compiled with the calls that checks and counts need; not under the address sanitizer, which
// does its own.
bool can_check();

// The kernels launched last, at most 16, the latest at the end: "adamw_kernel, sum_kernel<float>".
std::string latest_kernels();

}  // namespace emulator
