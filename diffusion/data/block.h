#pragma once
#include <optional>

#include "diffusion/data/dataset.h"

namespace stipple {

// Where the pictures of a set will lie, known before the first one is decoded.
struct Plan {
  int64_t height, width, channels;  // of a picture in a batch
  std::vector<Dataset::Picture> pictures;
  int64_t bytes = 0;

  void add(int64_t picture_height, int64_t picture_width);
};

// The size that a picture is kept at: what `fitted` returns. resolution 0: as it is.
struct Size {
  int64_t height, width;
};
Size fitted_size(Size, const DatasetOptions&);
Image fitted(Image, const DatasetOptions&);

// The plan for n pictures of one size.
Plan uniform_plan(int64_t n, Size, int64_t channels, const DatasetOptions&);

struct Block {
  std::shared_ptr<const uint8_t> pixels;
  std::vector<std::optional<std::string>> errors;  // one a picture; nothing where it went well
};

// Makes all pictures, in parallel; draw(i) returns picture i at its planned size or throws an Error, which is noted,
// and leaves the picture black. A plan larger than the memory limit goes into a file of the cache folder, named after
// the plan, the options and `sources` (a listing of the files): it is used again when they are the same, and it is only
// kept if nothing failed or options.skip_bad.
Block make_block(const Plan&, const std::function<Image(int64_t i)>& draw, const DatasetOptions&,
                 const std::string& sources);

// "path size time-of-change", a line for a listing of sources.
std::string listed(const std::filesystem::path&);

// make_block for sources whose pictures are all good: the first error is thrown. Labels, names and notices are left to
// fill in.
Dataset assemble(const Plan&, const std::function<Image(int64_t i)>& draw, const DatasetOptions&,
                 const std::string& sources);

// Bytes this process may use: physical memory, or what its control group (container) allows if that is less.
int64_t usable_memory();

}  // namespace stipple
