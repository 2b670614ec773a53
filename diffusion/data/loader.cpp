#include "diffusion/data/loader.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/parallel.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stipple {
namespace {

enum class Purpose : uint64_t { order = 0x6F72646572, augmentation = 0x6175676D };  // keeps their random numbers apart

// The finaliser of splitmix64 (Steele et al. 2014): unequal words become unrelated ones.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

uint64_t key_of(uint64_t seed, Purpose purpose, int64_t epoch) {
  return mix(mix(mix(seed) ^ static_cast<uint64_t>(purpose)) ^ static_cast<uint64_t>(epoch));
}

struct Window {
  int64_t top, left;
  bool flipped;
};

// Drawn from one block of random words of its own, so that a picture's window depends on (seed, epoch, place) alone.
Window draw_window(const ImageView& picture, const Dataset& set, const LoaderOptions& o, int64_t epoch, int64_t place) {
  std::array<double, 3> u;
  PhiloxGenerator random(key_of(o.seed, Purpose::augmentation, epoch), static_cast<uint64_t>(place));
  random.uniform(u.data(), u.size());
  return {.top = static_cast<int64_t>(u[0] * (picture.height - set.height + 1)),
          .left = static_cast<int64_t>(u[1] * (picture.width - set.width + 1)),
          .flipped = o.random_flip && u[2] < 0.5};
}

void copy_window(const ImageView& from, const Window& w, const Dataset& set, float* to) {
  for (int64_t y = 0; y < set.height; ++y)
    for (int64_t x = 0; x < set.width; ++x) {
      const uint8_t* pixel = from.at(w.top + y, w.left + (w.flipped ? set.width - 1 - x : x));
      for (int64_t c = 0; c < set.channels; ++c) *to++ = pixel[c] / 127.5f - 1;
    }
}

}  // namespace

Loader::Loader(Dataset dataset, const LoaderOptions& options) : dataset_(std::move(dataset)), options_(options) {
  check(options_.batch_size > 0, "loader: a batch size of {}", options_.batch_size);
  check(dataset_.size() > 0, "loader: the data set {} is empty", dataset_.name);
}

int64_t Loader::batches() const { return (dataset_.size() + options_.batch_size - 1) / options_.batch_size; }

std::vector<int64_t> Loader::order(int64_t epoch) const {
  std::vector<int64_t> order(dataset_.size());
  if (options_.shuffle) {
    PhiloxGenerator(key_of(options_.seed, Purpose::order, epoch)).permutation(order.data(), dataset_.size());
  } else {
    for (int64_t i = 0; i < dataset_.size(); ++i) order[i] = i;
  }
  return order;
}

Batch Loader::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches(), "loader: batch {} of epoch {}; there are {} an epoch", index,
        epoch, batches());
  if (epoch != ordered_epoch_) {
    order_ = order(epoch);
    ordered_epoch_ = epoch;
  }
  const int64_t first = index * options_.batch_size, count = std::min(options_.batch_size, dataset_.size() - first);
  Batch batch{Tensor({count, dataset_.height, dataset_.width, dataset_.channels}), {}};
  float* images = batch.images.mutable_data<float>();
  const int64_t stride = batch.images.numel() / count;
  cpu::parallel_for(count, [&](int64_t i) {
    const ImageView picture = dataset_.image(order_[first + i]);
    copy_window(picture, draw_window(picture, dataset_, options_, epoch, first + i), dataset_, images + i * stride);
  });
  if (!dataset_.labelled()) return batch;
  batch.labels = Tensor({count}, Dtype::i64);
  int64_t* labels = batch.labels.mutable_data<int64_t>();
  for (int64_t i = 0; i < count; ++i) labels[i] = dataset_.labels[order_[first + i]];
  return batch;
}

}  // namespace stipple
