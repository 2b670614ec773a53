#include "diffusion/conditioning.h"
#include "diffusion/model_index.h"
#include "diffusion/scheduler.h"
#include "diffusion/unet_config.h"
#include "fuzz/memory_file.h"

namespace {

// What was accepted is written so that it is accepted again.
template <typename Read>
void read_and_write(const Read& read, const std::string& text) {
  std::string written;
  stipple::refusing([&] { written = read(text).to_json(); });
  if (!written.empty() && read(written).to_json() != written) __builtin_trap();
}

template <typename Config>
Config read_config(const std::string& text) {
  std::vector<std::string> notices;
  return Config::from_json(text, "config.json", notices);
}

stipple::ModelIndex read_index(const std::string& text) {
  return stipple::ModelIndex::from_json(text, "model_index.json");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read_and_write(read_config<stipple::UNet2DConfig>, text);
  read_and_write(read_config<stipple::SchedulerConfig>, text);
  read_and_write(read_config<stipple::ConditioningConfig>, text);
  read_and_write(read_index, text);
  return 0;
}
