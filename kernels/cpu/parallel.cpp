#include "kernels/cpu/parallel.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace stipple::cpu {
namespace {

// cgroup v2: "QUOTA PERIOD" in microseconds, or "max PERIOD".
int container_quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return omp_get_num_procs();
  return static_cast<int>(std::stod(quota) / period + 0.999);
}

}  // namespace

int available_threads() { return std::max(1, std::min(omp_get_num_procs(), container_quota())); }

}  // namespace stipple::cpu
