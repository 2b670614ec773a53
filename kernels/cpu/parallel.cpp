#include "kernels/cpu/parallel.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
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

void sleep_when_idle(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", "1000", 1);  // what it takes itself where threads outnumber processors: some microseconds
  execv("/proc/self/exe", argv);
}

}  // namespace stipple::cpu
