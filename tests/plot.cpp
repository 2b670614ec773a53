#include "diffusion/image/plot.h"

#include <algorithm>
#include <cmath>

#include "tests/catch.h"

using namespace stipple;

namespace {

int64_t coloured_pixels(const Image& image) {
  int64_t count = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) count += image.pixels[i] + 40 < image.pixels[i + 2];
  return count;
}

}  // namespace

TEST_CASE("A loss curve is drawn from the first step to the last", "[plot]") {
  std::vector<float> losses(1000);
  for (size_t i = 0; i < losses.size(); ++i) losses[i] = static_cast<float>(1 / (1 + 0.01 * i));
  const Image curve = draw_loss(losses, "falling"), logarithmic = draw_loss(losses, "falling", {.log_y = true});
  CHECK(curve.width == 960);
  CHECK(curve.height == 600);
  CHECK(coloured_pixels(curve) > 900);
  CHECK(coloured_pixels(logarithmic) > 900);
  CHECK_FALSE(curve == logarithmic);
}

TEST_CASE("Losses that are not finite leave a gap", "[plot]") {
  std::vector<float> whole(100, 0.5f), broken = whole;
  std::fill(broken.begin() + 40, broken.begin() + 60, NAN);
  const int64_t all = coloured_pixels(draw_loss(whole, "")), some = coloured_pixels(draw_loss(broken, ""));
  CHECK(some < 0.85 * all);
  CHECK(some > 0.7 * all);
}

TEST_CASE("A plot of nothing, of one step and of no finite loss has axes all the same", "[plot]") {
  for (const std::vector<float>& losses : {std::vector<float>{}, {0.5f}, {NAN, NAN}, {INFINITY}, {0, 0}, {-1, -2}})
    for (const bool log_y : {false, true}) CHECK(draw_loss(losses, "title", {.log_y = log_y}).width == 960);
}
