#include <algorithm>
#include <regex>

#include "diffusion/data/cifar.h"
#include "diffusion/data/dataset.h"
#include "diffusion/data/glyphs.h"
#include "diffusion/data/idx.h"
#include "diffusion/data/image_folder.h"
#include "diffusion/data/picture_files.h"
#include "tensor/error.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

bool is_name(const std::string& s) { return s == "mnist" || s == "fashion-mnist" || s == "cifar10" || s == "glyphs"; }

Dataset open_folder(const fs::path& folder, const DatasetOptions& o) {
  if (is_idx_folder(folder)) return open_idx(folder, o);
  if (is_cifar_folder(folder)) return open_cifar(folder, o);
  return open_image_folder(folder, o);
}

// An empty folder, or one with the beginning of a download, does not stand for a data set.
bool holds_data(const fs::path& folder) {
  return fs::is_directory(folder) && (is_idx_folder(folder) || is_cifar_folder(folder) || holds_pictures(folder));
}

bool looks_like_hub_id(const std::string& s) {
  static const std::regex hub_id("[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*");
  return std::regex_match(s, hub_id);
}

[[noreturn]] void explain_hub_id(const std::string& id) {
  const std::string folder = id.substr(id.find('/') + 1);
  fail(
      "{0}: there is no such folder. If it is a data set of the Hugging Face hub, fetch it with `hf download "
      "--repo-type dataset {0} --local-dir {1}`, extract its pictures (hub sets are often Parquet files) into a "
      "folder, and give that folder",
      id, folder);
}

void check_options(const DatasetOptions& o) {
  check(o.split == "train" || o.split == "test", "data set: split `{}`; train or test expected", o.split);
  check(o.resolution >= 0 && o.resolution <= 4096, "data set: a resolution of {} pixels", o.resolution);
  check(o.channels == 0 || o.channels == 1 || o.channels == 3, "data set: {} channels; 1 or 3 expected", o.channels);
}

}  // namespace

Dataset open_dataset(const std::string& path_or_name, const DatasetOptions& o) {
  check_options(o);
  if (is_name(path_or_name)) {
    const fs::path local = fs::path("data") / path_or_name;
    if (holds_data(local)) return open_folder(local, o);
    if (path_or_name == "glyphs") return make_glyphs(kGlyphs, 0, o);
    fail("{0}: {2} {1}; `stipple data get {0}` downloads it", path_or_name, local.string(),
         fs::is_directory(local) ? "no data set is in the folder" : "there is no folder");
  }
  if (!fs::exists(path_or_name) && looks_like_hub_id(path_or_name)) explain_hub_id(path_or_name);
  check(!path_or_name.empty(), "data set: an empty path");
  check(fs::exists(path_or_name),
        "{}: there is no such folder, and no data set of that name (mnist, fashion-mnist, cifar10, glyphs)",
        path_or_name);
  check(fs::is_directory(path_or_name), "{}: is a file; the folder of the data set is expected", path_or_name);
  return open_folder(path_or_name, o);
}

}  // namespace stipple
