#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/image/image.h"

namespace stipple {

// How a picture becomes a square of `resolution` pixels. The crops keep its proportions: the short side is resized, and
// what the long side has too much is cut off (random_crop: at another place every epoch). `stretch` resizes both sides.
enum class Fit { center_crop, random_crop, stretch };

struct DatasetOptions {
  int64_t resolution = 0;  // 0: as the pictures are, which must then agree
  int64_t channels = 0;    // 1 grey, 3 RGB, 0: 1 if all pictures are grey, else 3
  Fit fit = Fit::center_crop;
  std::string split = "train";  // or "test"
  bool skip_bad = false;  // go on without pictures that cannot be read; otherwise they are one error that names them
  std::filesystem::path cache_dir;  // where sets larger than memory_limit go; empty: $XDG_CACHE_HOME/stipple
  int64_t memory_limit = 0;         // bytes of decoded pictures; 0: a quarter of the memory this process may use
  std::function<void(int64_t done, int64_t total)>
      progress;  // while pictures are decoded; called on one thread at a time
};

// A set of pictures, decoded once and kept as u8, all in one block of memory (or of a mapped file).
struct Dataset {
  struct Picture {
    int64_t offset;         // of its first pixel in the block
    int64_t height, width;  // at least the set's; more where random crops are wanted
  };

  std::string name;
  int64_t height = 0, width = 0, channels = 0;  // of a picture in a batch
  std::vector<Picture> pictures;
  std::vector<int64_t> labels;           // one a picture, or none at all
  std::vector<std::string> class_names;  // of label 0, 1, ...; empty without labels
  std::vector<std::string> notices;      // what the user should be told: another split taken, pictures skipped
  std::shared_ptr<const uint8_t> block;

  int64_t size() const { return static_cast<int64_t>(pictures.size()); }
  bool labelled() const { return !labels.empty(); }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }
  ImageView image(int64_t i) const {
    return {pictures[i].height, pictures[i].width, channels, block.get() + pictures[i].offset};
  }
};

// A path or a name. mnist, fashion-mnist, cifar10 and glyphs mean ./data/NAME if it is there, else the embedded set of
// that name (glyphs: drawn digits, diffusion/data/glyphs.h). A path is a folder of IDX files (idx.h), of CIFAR-10
// batches (cifar.h) or of pictures (image_folder.h).
Dataset open_dataset(const std::string& path_or_name, const DatasetOptions& = {});

}  // namespace stipple
