#pragma once
// Stands in for the CUDA toolkit's header of this name when g++ compiles the .cu sources: what kernels see, and the
// part of the runtime's interface that the project uses. Names and meanings are CUDA's ("CUDA C++ Programming Guide").
#include "kernels/emulator/api.h"
#include "kernels/emulator/device.h"
