#pragma once
#include "tensor/tensor.h"

// Kernels that do one thing only, as fast as the chip can. What tensor cores reach here is the peak of mma.sync; on
// Hopper wgmma reaches about half as much again, which a large cuBLAS product shows.

namespace stipple::bench {

inline constexpr int kPeakThreads = 256;

// Every warp multiplies 16-row tiles from registers, `rounds` times eight independent ones; sums: f32 [blocks threads].
void multiply_from_registers(const Tensor& sums, int64_t blocks, int64_t rounds, bool bf16);
double multiplied_flop(int64_t blocks, int64_t rounds, bool bf16);

void copy_elements(const Tensor& to, const Tensor& from);  // f32, a multiple of four

}  // namespace stipple::bench
