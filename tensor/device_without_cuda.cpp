#include "tensor/device.h"
#include "tensor/error.h"

// The GPU of a build that has none.

namespace stipple::cuda {
namespace {

[[noreturn]] void there_is_none() { fail("this build of stipple has no cuda device"); }

}  // namespace

bool is_built() { return false; }
CachingAllocator& allocator() { there_is_none(); }
void copy(std::byte*, Device, const std::byte*, Device, size_t) { there_is_none(); }
void fill(const Tensor&, double) { there_is_none(); }
void convert(const Tensor&, const Tensor&) { there_is_none(); }

}  // namespace stipple::cuda
