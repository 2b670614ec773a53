#pragma once
#include "diffusion/data/dataset.h"

// IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist): big-endian; two zero bytes, the element type (8:
// u8), the rank, one u32 extent a dimension, the elements. Plain or in gzip.

namespace stipple {

struct Idx {
  std::vector<int64_t> extents;
  std::vector<uint8_t> elements;
};

// Errors: another element type, rank 0 or above 4, extents and file length that do not agree, damaged gzip.
Idx read_idx(const std::filesystem::path&);

// Whether the folder holds `train-images-idx3-ubyte` or `t10k-images-idx3-ubyte`, perhaps with `.gz`.
bool is_idx_folder(const std::filesystem::path&);

// Images are u8 [N,H,W] or [N,H,W,C], labels u8 [N] (labels-idx1-ubyte beside the images; without that file the set is
// unlabelled). Where the train split is asked for and there is only the test split, that is taken, with a notice.
Dataset open_idx(const std::filesystem::path& folder, const DatasetOptions&);

}  // namespace stipple
