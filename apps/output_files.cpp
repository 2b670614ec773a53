#include "apps/output_files.h"

#include <filesystem>
#include <map>

#include "apps/command.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

}  // namespace

void check_output(const std::string& path) {
  check(!fs::is_directory(path), "cannot write {}: it is a folder", path);
  if (!fs::exists(path) || fs::is_regular_file(path)) AtomicFile probe(path);
}

void check_distinct(const std::vector<OutputFile>& outputs) {
  std::map<fs::path, const OutputFile*> taken;
  for (const OutputFile& output : outputs) {
    if (fs::is_other(output.path)) continue;  // pipes and devices take one thing after another
    const auto [found, fresh] = taken.emplace(fs::weakly_canonical(fs::absolute(output.path)), &output);
    if (!fresh)
      fail_usage("{} {} and {} {}: one would replace the other", found->second->flag, found->second->path, output.flag,
                 output.path);
  }
}

std::string without_slash(const std::string& folder) {
  const fs::path path = folder;
  return path.has_filename() ? folder : path.parent_path().string();
}

}  // namespace stipple
