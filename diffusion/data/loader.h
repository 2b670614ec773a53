#pragma once
#include "diffusion/data/dataset.h"
#include "tensor/tensor.h"

namespace stipple {

struct LoaderOptions {
  int64_t batch_size = 16;
  uint64_t seed = 0;
  bool shuffle = true;
  bool random_flip = false;  // left-right, half of the pictures by chance
};

struct Batch {
  Tensor images;  // f32 [N,H,W,C] in [-1, 1]
  Tensor labels;  // i64 [N]; undefined where the set has none
};

// Batches of a data set in random order. What is in a batch is a function of (seed, epoch, index) alone: resuming needs
// the position, nothing else, and threads change nothing. Every epoch visits every picture once; its last batch is
// smaller where the count does not divide, as in PyTorch. Where pictures are larger than the set's size, a window is
// cut out of them at random.
class Loader {
 public:
  Loader(Dataset, const LoaderOptions&);

  const Dataset& dataset() const { return dataset_; }
  int64_t batches() const;  // an epoch
  Batch batch(int64_t epoch, int64_t index) const;
  Batch at(int64_t position) const { return batch(position / batches(), position % batches()); }  // counted over epochs

  // The picture that stands at each place of an epoch.
  std::vector<int64_t> order(int64_t epoch) const;

 private:
  Dataset dataset_;
  LoaderOptions options_;
  mutable int64_t ordered_epoch_ = -1;  // the one whose order is kept
  mutable std::vector<int64_t> order_;
};

}  // namespace stipple
