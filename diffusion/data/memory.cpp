#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "diffusion/data/block.h"

namespace stipple {
namespace {

// A control group's limit; the file says "max" (version 2) or a huge number (version 1) where there is none.
int64_t limit_in(const char* path, int64_t otherwise) {
  int64_t limit = 0;
  return std::ifstream(path) >> limit ? limit : otherwise;
}

}  // namespace

int64_t usable_memory() {
  const int64_t physical = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return std::min({physical, limit_in("/sys/fs/cgroup/memory.max", physical),
                   limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", physical)});
}

}  // namespace stipple
