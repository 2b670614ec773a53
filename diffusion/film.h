#pragma once
#include <vector>

#include "diffusion/image/image.h"
#include "diffusion/scheduler.h"

namespace stipple {

// The denoising as pictures: what the network saw, and the clean image it predicted, every so many steps and at the
// last.
class Film {
 public:
  explicit Film(int64_t every = 0) : every_(every) {}  // 0: about ten in all

  // [N,H,W,C] each, after step `step` of `total`, counted from 1; `state` of variance 1.
  void add(const Tensor& state, const Tensor& clean, int64_t step, int64_t total);

  size_t size() const { return states_.size(); }
  // One sheet: two rows an image, states above predicted clean images, a column a step that was kept.
  Image strip() const;
  // The predicted clean images of the kept step number `index`, `nrow` in a row.
  Image frame(size_t index, int64_t nrow) const;

 private:
  int64_t every_;
  std::vector<Tensor> states_, cleans_;
};

}  // namespace stipple
