#include "kernels/launch.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace stipple {

std::string_view rung(const char* operation, std::initializer_list<std::string_view> rungs) {
  const std::string variable = std::string("STIPPLE_") + operation;
  const char* wanted = std::getenv(variable.c_str());
  if (!wanted) return *(rungs.end() - 1);
  const auto found = std::find(rungs.begin(), rungs.end(), wanted);
  if (found != rungs.end()) return *found;
  std::string known;
  for (std::string_view name : rungs) known += (known.empty() ? "" : ", ") + std::string(name);
  fail("{}={}: there is no such implementation, there are: {}", variable, wanted, known);
}

bool use_oracle(const char* operation, Dtype dtype) {
  return dtype != Dtype::f32 || rung(operation, {"oracle", "simd"}) == "oracle";
}

}  // namespace stipple
