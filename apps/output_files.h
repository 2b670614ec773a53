#pragma once
#include <string>
#include <vector>

namespace stipple {

// What a command is about to write: the flag that says so, and the file or folder.
struct OutputFile {
  std::string flag, path;
};

// Throws what writing this file would throw, before hours of work; the file stays as it is.
void check_output(const std::string& path);

// Wrong usage where two of them are the same file: the later would replace the earlier.
void check_distinct(const std::vector<OutputFile>&);

std::string without_slash(const std::string& folder);  // "film/" -> "film"

}  // namespace stipple
