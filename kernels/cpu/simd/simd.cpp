#include "kernels/cpu/simd/simd.h"

#include "kernels/launch.h"

namespace stipple::simd {

#if defined(__x86_64__)
namespace v4 {
extern const Table functions;
}
namespace v3 {
extern const Table functions;
}
#endif
namespace baseline {
extern const Table functions;
}

const Table& table() {
  static const Table& chosen = []() -> const Table& {
    const std::string_view wanted = rung("SIMD", {"baseline", "v3", "v4"});
#if defined(__x86_64__)
    if (wanted == "v4" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      return v4::functions;
    if (wanted != "baseline" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return v3::functions;
#endif
    return baseline::functions;
  }();
  return chosen;
}

}  // namespace stipple::simd
