#include "kernels/cuda/precision.h"

#include <atomic>

namespace stipple::cuda {
namespace {
std::atomic<bool> tf32 = false;
}

bool allows_tf32() { return tf32; }
void allow_tf32(bool allow) { tf32 = allow; }

}  // namespace stipple::cuda
