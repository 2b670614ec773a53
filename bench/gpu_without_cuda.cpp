#include <nlohmann/json.hpp>

#include "bench/gpu.h"
#include "tensor/error.h"

namespace stipple::bench {
namespace {

[[noreturn]] void there_is_none() { fail("this build of stipple_bench has no cuda device"); }

}  // namespace

void set_up_gpu(const nlohmann::json&) { there_is_none(); }
nlohmann::json measure_on_gpu(const Work&, int64_t, bool) { there_is_none(); }
Work prepare_peak(const nlohmann::json&) { there_is_none(); }

}  // namespace stipple::bench
