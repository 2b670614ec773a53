#include "diffusion/data/picture_files.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <optional>
#include <set>

#include "tensor/error.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

// Pictures by name, those that will be refused included: they shall not be missing unnoticed.
bool is_picture(const fs::path& path) {
  static const std::set<std::string> endings = {".png",  ".jpg",  ".jpeg", ".jpe",  ".bmp", ".webp", ".gif", ".tif",
                                                ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2",  ".psd"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return endings.count(ending) > 0;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<fs::path> entries(const fs::path& folder, bool (*wanted)(const fs::directory_entry&)) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_hidden(entry.path()) && wanted(entry)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> subfolders(const fs::path& folder) {
  return entries(folder, [](const fs::directory_entry& e) { return e.is_directory(); });
}

std::vector<fs::path> pictures_in(const fs::path& folder) {
  return entries(folder, [](const fs::directory_entry& e) { return e.is_regular_file() && is_picture(e.path()); });
}

bool leads_back(const fs::path& folder, const std::vector<fs::path>& above) {
  return fs::is_symlink(folder) && std::count(above.begin(), above.end(), fs::canonical(folder)) > 0;
}

// Follows links to folders, unless they lead back to a folder above them (`above`, by their true names).
void add_pictures_below(const fs::path& folder, std::vector<fs::path> above, PictureFiles& to) {
  const auto pictures = pictures_in(folder);
  to.files.insert(to.files.end(), pictures.begin(), pictures.end());
  above.push_back(fs::canonical(folder));
  for (const fs::path& inner : subfolders(folder)) {
    if (leads_back(inner, above))
      to.notices.push_back(fmt::format("{}: is a link to a folder above it and is not followed", inner.string()));
    else
      add_pictures_below(inner, above, to);
  }
}

std::optional<fs::path> split_folder(const fs::path& folder, const std::string& split) {
  const std::vector<std::string> names = split == "test"
                                             ? std::vector<std::string>{"test", "val", "valid", "validation"}
                                             : std::vector<std::string>{split};
  for (const std::string& name : names)
    if (fs::is_directory(folder / name)) return folder / name;
  return std::nullopt;
}

// Archives often unpack to a folder in a folder.
fs::path unwrapped(fs::path folder) {
  std::set<fs::path> seen;
  while (pictures_in(folder).empty() && subfolders(folder).size() == 1 && !split_folder(folder, "train") &&
         !split_folder(folder, "test") && seen.insert(folder).second)
    folder = fs::canonical(subfolders(folder)[0]);
  return folder;
}

// Labels by name, where every file has one (label_of is not empty) and there is more than one class.
Labels labelled(const std::vector<fs::path>& files, const std::function<std::string(const fs::path&)>& label_of) {
  std::vector<std::string> words;
  for (const fs::path& file : files) words.push_back(label_of(file));
  const std::set<std::string> classes(words.begin(), words.end());
  if (classes.count("") || classes.size() < 2) return {};
  Labels labels{{classes.begin(), classes.end()}, {}};
  for (const std::string& word : words) labels.of.push_back(std::distance(classes.begin(), classes.find(word)));
  return labels;
}

std::string class_folder(const fs::path& file, const fs::path& root) {
  const fs::path below = file.lexically_relative(root);
  return below.has_parent_path() ? below.begin()->string() : "";
}

std::string prefix(const fs::path& file) {
  const std::string stem = file.stem().string();
  const size_t underscore = stem.find('_');
  return underscore == stem.npos ? "" : stem.substr(0, underscore);
}

Labels labels_of(const std::vector<fs::path>& files, const fs::path& root) {
  const Labels by_folder = labelled(files, [&](const fs::path& file) { return class_folder(file, root); });
  if (!by_folder.of.empty()) return by_folder;
  const Labels by_prefix = labelled(files, prefix);
  return by_prefix.names.size() < files.size() ? by_prefix : Labels{};  // one a picture says nothing
}

// The folder that holds the split; the train split of a folder without splits is the folder itself.
fs::path root_of(const fs::path& folder, const std::string& split, std::vector<std::string>& notices) {
  if (const auto root = split_folder(folder, split)) return *root;
  check(split == "train", "{}: has no folder `{}`", folder.string(), split);
  const auto test = split_folder(folder, "test");
  if (!test) return folder;
  notices.push_back(fmt::format("{}: has no train split, {} is taken", folder.string(), test->filename().string()));
  return *test;
}

}  // namespace

PictureFiles find_pictures(const fs::path& path, const std::string& split) try {
  check(fs::is_directory(path), "{}: {}", path.string(), fs::exists(path) ? "is no folder" : "there is no such folder");
  PictureFiles found;
  found.root = root_of(unwrapped(fs::canonical(path)), split, found.notices);
  add_pictures_below(found.root, {}, found);
  check(!found.files.empty(), "{}: holds no pictures (.png, .jpg, .jpeg, .bmp)", found.root.string());
  found.labels = labels_of(found.files, found.root);
  return found;
} catch (const fs::filesystem_error& error) { fail("{}: {}", error.path1().string(), error.code().message()); }

bool holds_pictures(const fs::path& folder) {
  PictureFiles found;
  add_pictures_below(folder, {}, found);
  return !found.files.empty();
}

}  // namespace stipple
