#pragma once
#include <stdint.h>

// The f32 inner loops of the CPU kernels, compiled once an instruction set (x86-64-v4, x86-64-v3, baseline; see vector.h)
// and chosen when the program starts. They are sequential: threads belong to the callers in kernels/cpu/.
// STIPPLE_SIMD=baseline|v3|v4 in the environment picks a lower one than the machine has.

namespace stipple::simd {

struct Table {
  const char* name;
  int lanes;

  // y[i] = x[i] sigmoid(x[i]), and dx[i] = dy[i] silu'(x[i])
  void (*silu)(float* y, const float* x, int64_t n);
  void (*silu_backward)(float* dx, const float* dy, const float* x, int64_t n);
};

const Table& table();

}  // namespace stipple::simd
