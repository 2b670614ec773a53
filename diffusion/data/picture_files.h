#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace stipple {

struct Labels {
  std::vector<std::string> names;  // sorted
  std::vector<int64_t> of;         // a file's label; empty without labels
};

struct PictureFiles {
  std::filesystem::path root;                // the folder of the split
  std::vector<std::filesystem::path> files;  // sorted by name
  Labels labels;
  std::vector<std::string> notices;
};

// The pictures of a folder under the conventions of image_folder.h. A folder that is missing or holds none is an error.
PictureFiles find_pictures(const std::filesystem::path& folder, const std::string& split);

bool holds_pictures(const std::filesystem::path& folder);  // at any depth

}  // namespace stipple
