#pragma once
#include <string>

// Names and lines of code addresses, from the program's own debugging information (binutils' addr2line).

namespace emulator {

std::string name_of_kernel(const void* kernel);  // "softmax<float>"
std::string line_of(
    const void* return_address);  // "kernels/cuda/softmax.cu:57"; the address itself where it is not known

}  // namespace emulator
