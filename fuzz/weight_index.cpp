#include <filesystem>

#include "diffusion/weight_files.h"
#include "fuzz/memory_file.h"
#include "tensor/file.h"

// The index of sharded weights, in a folder that holds one shard.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "stipple-fuzz-XXXXXX").string();
    const std::filesystem::path made = ::mkdtemp(name.data());
    stipple::write_file_atomically(made / "shard.safetensors", "");
    return made;
  }();
  const std::filesystem::path index = folder / "diffusion_pytorch_model.safetensors.index.json";
  std::filesystem::remove(index);
  const stipple::MemoryFile file(data, size);
  std::filesystem::create_symlink(file.path(), index);
  return stipple::refusing([&] {
    for (const auto& path : stipple::find_weights(folder, ""))
      if (path.parent_path() != folder) __builtin_trap();
  });
}
