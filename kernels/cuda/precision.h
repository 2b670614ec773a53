#pragma once

// Whether tensor cores may round f32 operands to tf32 (10 bits of mantissa), as --mixed-precision tf32 asks. Without it
// f32 products are as exact as f32 multiply-adds.

namespace stipple::cuda {

bool allows_tf32();
void allow_tf32(bool);

}  // namespace stipple::cuda
