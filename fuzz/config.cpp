#include "diffusion/conditioning.h"
#include "diffusion/scheduler.h"
#include "diffusion/unet_config.h"
#include "fuzz/memory_file.h"

namespace {

// What was accepted is written so that it is accepted again.
template <typename Config>
void read_and_write(const std::string& text) {
  std::vector<std::string> notices;
  std::string written;
  stipple::refusing([&] { written = Config::from_json(text, "config.json", notices).to_json(); });
  if (!written.empty() && Config::from_json(written, "written", notices).to_json() != written) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read_and_write<stipple::UNet2DConfig>(text);
  read_and_write<stipple::SchedulerConfig>(text);
  read_and_write<stipple::ConditioningConfig>(text);
  return 0;
}
