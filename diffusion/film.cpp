#include "diffusion/film.h"

#include <algorithm>

#include "diffusion/image/grid.h"

namespace stipple {

void Film::add(const Tensor& state, const Tensor& clean, int64_t step, int64_t total) {
  const int64_t every = every_ ? every_ : std::max<int64_t>(1, total / 10);
  if (step % every != 0 && step != total) return;
  states_.push_back(state);
  cleans_.push_back(clean);
}

Image Film::strip() const {
  check(!states_.empty(), "film: there are no steps to show");
  const Tensor& first = states_.front();
  const int64_t images = first.dim(0), columns = static_cast<int64_t>(states_.size());
  Tensor sheet({2 * images * columns, first.dim(1), first.dim(2), first.dim(3)});
  for (int64_t n = 0; n < images; ++n)
    for (int64_t column = 0; column < columns; ++column) {
      sheet[2 * n * columns + column].copy_from(states_[column][n]);
      sheet[(2 * n + 1) * columns + column].copy_from(cleans_[column][n]);
    }
  return make_grid(sheet, {.nrow = columns});
}

Image Film::frame(size_t index, int64_t nrow) const { return make_grid(cleans_.at(index), {.nrow = nrow}); }

}  // namespace stipple
