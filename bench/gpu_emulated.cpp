#include <nlohmann/json.hpp>

#include "bench/gpu.h"
#include "kernels/emulator/emulator.h"
#include "kernels/emulator/model_time.h"

// The emulator's clock says nothing of a GPU's. What is answered instead of seconds is the model's time on each GPU
// that it knows, from one counted run; L2 is empty before every launch (kernels/emulator/counts.h).

namespace stipple::bench {

nlohmann::json measure_on_gpu(const Work& work, int64_t, bool) {
  emulator::set_mode(emulator::Mode::count);
  work.run();
  emulator::set_mode(emulator::Mode::fast);
  nlohmann::json times;
  const auto kernels = emulator::take_counts();
  for (const emulator::Gpu& gpu : emulator::gpus()) {
    double seconds = 0;
    for (const emulator::KernelCounts& kernel : kernels) seconds += model_time(kernel, gpu).seconds;
    times[gpu.name] = seconds;
  }
  return {{"model_seconds", times}};
}

}  // namespace stipple::bench
