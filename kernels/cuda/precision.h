#pragma once
#include <atomic>

// Whether tensor cores may round f32 operands to tf32 (10 bits of mantissa), as --mixed-precision tf32 asks. Without it
// f32 products are as exact as f32 multiply-adds. For all work of the process from then on; a captured graph keeps to
// what it was captured with. In a build without CUDA nobody asks.

namespace stipple::cuda {

inline std::atomic<bool> tf32_is_allowed = false;

inline bool allows_tf32() { return tf32_is_allowed; }
inline void allow_tf32(bool allow) { tf32_is_allowed = allow; }

}  // namespace stipple::cuda
